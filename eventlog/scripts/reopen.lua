#!lua flags=allow-oom
-- Put settled events of one (handler, lane) back into `open`, to run again. An event that is not settled or is open
-- already is left alone; a dead letter of it is taken out in the same change. A batch that has no room changes
-- nothing, and neither does one whose progress somebody else has moved, nor one of somebody who has not read all letters.
-- ARGV: prefix, handler, lane, room (records that `open` may hold), progress as it was, progress as it will be ('' =
--   none is kept), last letter that was read ('' = that does not matter: those who come with a letter want just that
--   one tried again), then 3 values per event: stream id, id of its dead letter or '', record
local prefix, handler, lane, room = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local letters_read = ARGV[7]
local first, stride = 8, 3
local pair = handler .. '|' .. lane
local open = prefix .. 'open:' .. handler .. ':' .. lane
local ahead = prefix .. 'ahead:' .. handler .. ':' .. lane
local dead = prefix .. 'dead:' .. handler
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)

local version = redis.call('HGET', prefix .. 'newest', handler)
local cur = redis.call('HGET', prefix .. 'cur', pair)
if not version or not cur then return {'unknown'} end
if ARGV[6] ~= '' and (redis.call('HGET', prefix .. 'replays', handler) or '') ~= ARGV[5] then return {'moved'} end
if letters_read ~= '' then
  local newest = redis.call('XREVRANGE', dead, '+', '-', 'COUNT', 1)[1]
  if newest and later(newest[1], letters_read) then return {'unread'} end
end
local many = (#ARGV - first + 1) / stride
if many > 0 and redis.call('HLEN', open) + many > room then return {'full'} end

local answers, put = {'ok'}, 0
for at = first, #ARGV, stride do
  local id, letter, record = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local passed = not later(id, cur)
  local answer
  if not passed and redis.call('SISMEMBER', ahead, id) == 0 then
    answer = 'waiting'
  elseif redis.call('HEXISTS', open, id) == 1 then
    answer = 'open'
  elseif letter ~= '' and redis.call('XDEL', dead, letter) == 0 and letters_read == '' then
    answer = 'gone'
  else
    answer = 'put'
    put = put + 1
    redis.call('HSET', open, id, record)
    redis.call('SREM', ahead, id)
  end
  answers[#answers + 1] = answer
end
if ARGV[6] ~= '' then redis.call('HSET', prefix .. 'replays', handler, ARGV[6]) end
if put > 0 then
  redis.call('HINCRBY', prefix .. 'gen', pair, 1)
  redis.call('HINCRBY', prefix .. 'stats:' .. handler, 'replayed', put)
  if redis.call('EXISTS', prefix .. 'lease:' .. handler .. ':' .. lane) == 0
      and redis.call('HEXISTS', prefix .. 'paused', handler) == 0 then
    local declared = redis.call('HGET', prefix .. 'handlers', handler .. '|' .. version)
    redis.call('ZADD', prefix .. 'due:' .. cjson.decode(declared).declaration.queue, 'LT', now_ms, pair)
  end
end
return answers
