#!lua flags=allow-oom
-- Put the job of a wake-up into its queue, as RQ does. A full server takes it, since workers make room.
-- KEYS: the queue. ARGV: RQ's set of queues, key and id of the job, seconds until it ends, its fields and their values
local MOST = 1000 -- without a worker nothing takes them, and they are hints
local queues, job, id, ends_s = take(), take(), take(), take_number()
if call('LLEN', KEYS[1]) >= MOST then call('DEL', KEYS[1]) end
call('SADD', queues, KEYS[1])
call('RPUSH', KEYS[1], id)
while has_more() do call('HSET', job, take(), take()) end
call('EXPIRE', job, ends_s)
return 1
