#!lua flags=allow-oom
-- Note when housekeeping last ran. Also on a full Redis, which needs housekeeping too.
-- ARGV: prefix, now (ms)
call('HSET', take() .. 'tenant', 'pulse', take())
return 1
