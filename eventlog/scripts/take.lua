#!lua flags=allow-oom
-- Take the lease of one (handler, lane) if it is free. The same token gets the same answer again.
-- ARGV: prefix, handler, lane, queue, token, ttl (ms), holder (host and pid, for people), whether the drain asks the
--   author's code for a key of each open event ('1' or '0')
-- Returns last: whether one event is to try if what the handler needs is back; how long ago it came back (ms, -1 = it
-- was not away, or that is long ago); whether the drain before ended while it asked for keys (1 or 0)
prefix = take()
local handler, lane, queue, token, ttl_ms, asker = take(), take(), take(), take(), take_number(), take()
local asks = take() == '1'
local pair, due = handler .. '|' .. lane, prefix .. 'due:' .. queue
local lease = prefix .. 'lease:' .. handler .. ':' .. lane
local now = now_ms()
local holder = call('HMGET', lease, 'token', 'seq')
if holder[1] and not (holder[1] == token and holder[2] == '0') then
  if call('PTTL', lease) > tonumber(ttl_ms) then call('PEXPIRE', lease, ttl_ms) end -- the clock of Redis went back
  call('ZADD', due, 'XX', now + math.max(0, call('PTTL', lease)), pair)
  return {'busy'}
end
if call('HEXISTS', prefix .. 'paused', handler) == 1 then
  call('DEL', lease)
  call('ZREM', due, pair)
  return {'paused'}
end
-- Held: not yet. When the hold of a handler is over, one pair of it tries, unless the drain of another one does.
local held = call('HMGET', prefix .. 'held', handler, pair)
local tries, back_ms = 0, -1
local until_ms = held_in({[handler] = hold_end(held[1], now), [pair] = hold_end(held[2], now)}, handler, lane)
if held[2] and not until_ms then call('HDEL', prefix .. 'held', pair) end
if held[1] and not until_ms then
  local ended, words = string.match(held[1], '^(%d+) (.*)$')
  local hold = read_record(words)
  if not hold then
    call('HDEL', prefix .. 'held', handler) -- no hold: another client wrote it
  elseif hold.back then
    back_ms = math.max(0, now - count_of(hold.back))
    if back_ms > 86400000 then call('HDEL', prefix .. 'held', handler) end
  elseif hold.trial and hold.trial ~= token and type(hold.lane) == 'string'
      and call('HGET', prefix .. 'lease:' .. handler .. ':' .. hold.lane, 'token') == hold.trial then
    until_ms = now + 1000
  else
    tries, hold.trial, hold.lane = 1, token, lane
    call('HSET', prefix .. 'held', handler, ended .. ' ' .. cjson.encode(hold))
  end
end
if until_ms then
  call('DEL', lease)
  call('ZADD', due, until_ms, pair)
  return {'held'}
end
local cur, newest = call('HGET', prefix .. 'cur', pair), call('HGET', prefix .. 'newest', handler)
if not cur or not newest then
  call('ZREM', due, pair)
  return {'unknown'}
end
local gen = call('HGET', prefix .. 'gen', pair) or '0'
call('HSET', lease, 'token', token, 'seq', '0', 'holder', asker, 'gen', gen)
call('PEXPIRE', lease, ttl_ms)
call('ZADD', due, now + ttl_ms, pair)
local open, asked_before = call('HGETALL', prefix .. 'open:' .. handler .. ':' .. lane), 0
if asks and #open > 0 then
  -- The code that makes keys may kill its process, and nothing else would say so (asked.lua).
  call('HSETNX', prefix .. 'asking', pair, token)
  if call('HGET', prefix .. 'asking', pair) ~= token then asked_before = 1 end
end
return {
  'taken', cur, call('HGET', prefix .. 'runto', pair) or cur, newest, open,
  call('SMEMBERS', prefix .. 'ahead:' .. handler .. ':' .. lane),
  call('HGET', prefix .. 'wants', handler) or '', tries, back_ms, asked_before,
}
