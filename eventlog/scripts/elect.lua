#!lua flags=allow-oom
-- Be the one who does something now; also on a full Redis, which nobody could drain or trim else.
-- ARGV: key, how long (ms)
return redis.call('SET', ARGV[1], '1', 'NX', 'PX', ARGV[2]) and 1 or 0
