#!lua flags=allow-oom
-- Put settled events of one (handler, lane) back into `open`, to run again. An event that is not settled, or is open
-- already, is left alone. Its dead letter is removed in the same change. The batch changes nothing if it has no room,
-- if another process moved the progress, or if a replay has not read the newest letter.
-- ARGV: prefix, handler, lane, room (records that `open` may hold), progress now, progress then ('' = none is kept),
--   last letter that was read ('' = a retry, which names each letter), act of an operator that it counts for or '',
--   then 3 values per event: stream id, id of its dead letter or '', record
prefix = take()
local handler, lane, room = take(), take(), take_number()
local progress, next_progress, letters_read, act = take(), take(), take(), take()
local pair = handler .. '|' .. lane
local open = prefix .. 'open:' .. handler .. ':' .. lane
local ahead = prefix .. 'ahead:' .. handler .. ':' .. lane
local dead = prefix .. 'dead:' .. handler

local version = call('HGET', prefix .. 'newest', handler)
local cur = call('HGET', prefix .. 'cur', pair)
if not version or not cur then return {'unknown'} end
if next_progress ~= '' and (call('HGET', prefix .. 'replays', handler) or '') ~= progress then return {'moved'} end
if letters_read ~= '' then
  local newest = call('XREVRANGE', dead, '+', '-', 'COUNT', 1)[1]
  if newest and later(newest[1], letters_read) then return {'unread'} end
end
local many = (#ARGV - 8) / 3
if many > 0 and call('HLEN', open) + many > room then return {'full'} end

local answers, put = {'ok'}, 0
local passed = passed_key(handler, lane)
local oldest = call('HGET', passed, 'oldest')
while has_more() do
  local id, letter, record = take(), take(), take()
  local answer
  if later(id, cur) and call('SISMEMBER', ahead, id) == 0 then
    answer = 'waiting'
  elseif call('HEXISTS', open, id) == 1 then
    answer = 'open'
  elseif letter ~= '' and call('XDEL', dead, letter) == 0 and letters_read == '' then
    answer = 'gone'
  else
    answer = 'put'
    put = put + 1
    call('HSET', open, id, record)
    call('SREM', ahead, id)
    if oldest and (oldest == '-' or later(oldest, id)) then
      oldest = id
      call('HSET', passed, 'oldest', id)
    end
  end
  answers[#answers + 1] = answer
end
if next_progress ~= '' then call('HSET', prefix .. 'replays', handler, next_progress) end
if put > 0 then
  if act ~= '' then call('HINCRBY', prefix .. 'audit:done', act, put) end
  call('HDEL', prefix .. 'held', pair) -- it had too much open, and there was room
  call('HINCRBY', prefix .. 'gen', pair, 1)
  call('HINCRBY', prefix .. 'stats:' .. handler, 'replayed', put)
  if call('HEXISTS', prefix .. 'paused', handler) == 0 then
    mark_due(queue_of(handler, version), handler, lane, now_ms())
  end
end
return answers
