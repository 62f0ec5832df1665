#!lua flags=allow-oom
-- Write down what the log takes up, and whether the door has to be shut for it.
-- ARGV: prefix, why it is full ('' = it is not), how long that holds unless it is said again (ms), then field, value
local prefix = ARGV[1]
redis.call('HSET', prefix .. 'standing', unpack(ARGV, 4))
if ARGV[2] == '' then
  redis.call('DEL', prefix .. 'full')
else
  redis.call('SET', prefix .. 'full', ARGV[2], 'PX', ARGV[3])
end
