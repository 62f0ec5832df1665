#!lua flags=allow-oom
-- Take the lease of one (handler, lane) if it is free. The same token gets the same answer again.
-- ARGV: prefix, handler, lane, queue, token, ttl (ms), holder (host and pid, for people)
prefix = take()
local handler, lane, queue, token, ttl_ms, asker = take(), take(), take(), take(), take_number(), take()
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
local cur, newest = call('HGET', prefix .. 'cur', pair), call('HGET', prefix .. 'newest', handler)
if not cur or not newest then
  call('ZREM', due, pair)
  return {'unknown'}
end
local gen = call('HGET', prefix .. 'gen', pair) or '0'
call('HSET', lease, 'token', token, 'seq', '0', 'holder', asker, 'gen', gen)
call('PEXPIRE', lease, ttl_ms)
call('ZADD', due, now + ttl_ms, pair)
return {
  'taken', cur, call('HGET', prefix .. 'runto', pair) or cur, newest,
  call('HGETALL', prefix .. 'open:' .. handler .. ':' .. lane),
  call('SMEMBERS', prefix .. 'ahead:' .. handler .. ':' .. lane),
  call('HGET', prefix .. 'wants', handler) or '',
}
