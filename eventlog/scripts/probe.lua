#!lua
-- Write something, to find out whether that can be done.
-- ARGV: the full name of a key of no meaning
return redis.call('SET', ARGV[1], '1', 'PX', 60000)
