#!lua flags=allow-oom
-- Give a lock back, unless it is somebody else's by now.
-- ARGV: key, token
if redis.call('GET', ARGV[1]) == ARGV[2] then return redis.call('DEL', ARGV[1]) end
return 0
