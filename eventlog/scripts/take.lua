#!lua flags=allow-oom
-- Take the lease of one (handler, lane) if it is free; asking again with the same token gives the same answer.
-- ARGV: prefix, handler, lane, queue, token, ttl (ms), holder (who asks, for people)
local prefix, handler, lane, queue = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local token, ttl_ms, asker = ARGV[5], tonumber(ARGV[6]), ARGV[7]
local pair = handler .. '|' .. lane
local lease = prefix .. 'lease:' .. handler .. ':' .. lane
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local holder = redis.call('HMGET', lease, 'token', 'seq')
if holder[1] and not (holder[1] == token and holder[2] == '0') then
  redis.call('ZADD', prefix .. 'due:' .. queue, 'XX', now_ms + math.max(0, redis.call('PTTL', lease)), pair)
  return {'busy'}
end
if redis.call('HEXISTS', prefix .. 'paused', handler) == 1 then
  redis.call('DEL', lease)
  redis.call('ZREM', prefix .. 'due:' .. queue, pair)
  return {'paused'}
end
local cur = redis.call('HGET', prefix .. 'cur', pair)
local newest = redis.call('HGET', prefix .. 'newest', handler)
if not cur or not newest then
  redis.call('ZREM', prefix .. 'due:' .. queue, pair)
  return {'unknown'}
end
redis.call('HSET', lease, 'token', token, 'seq', '0', 'holder', asker,
  'gen', redis.call('HGET', prefix .. 'gen', pair) or '0')
redis.call('PEXPIRE', lease, ttl_ms)
redis.call('ZADD', prefix .. 'due:' .. queue, now_ms + ttl_ms, pair)
return {
  'taken', cur, redis.call('HGET', prefix .. 'runto', pair) or cur, newest,
  redis.call('HGETALL', prefix .. 'open:' .. handler .. ':' .. lane),
  redis.call('SMEMBERS', prefix .. 'ahead:' .. handler .. ':' .. lane),
}
