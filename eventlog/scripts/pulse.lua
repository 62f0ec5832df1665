#!lua flags=allow-oom
-- Note when housekeeping last ran. Also on a full Redis, which has to be looked after, too.
-- ARGV: prefix, now (ms)
call('HSET', take() .. 'tenant', 'pulse', take())
return 1
