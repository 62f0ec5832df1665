#!lua flags=allow-oom
-- Nobody takes a lane of this handler any more, and whoever holds one gives it back.
-- ARGV: prefix, handler, what is written down of it (JSON)
local prefix, handler = ARGV[1], ARGV[2]
if redis.call('HEXISTS', prefix .. 'newest', handler) == 0 then return 'unknown' end
redis.call('HSET', prefix .. 'paused', handler, ARGV[3])
return 'paused'
