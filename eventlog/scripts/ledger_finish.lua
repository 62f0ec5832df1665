#!lua flags=allow-oom
-- Record how a once-only step ended. It counts iff the nonce is that of the step as it was begun last, lease or not.
-- ARGV: prefix, handler, scope, step, nonce, ttl of the ledger (ms), state (done, uncertain), result (JSON text),
--   fault ('' = the result can be used)
local ledger = ARGV[1] .. 'ledger:' .. ARGV[2] .. ':' .. ARGV[3]
local found = redis.call('HGET', ledger, ARGV[4])
if not found then return 0 end
local record = cjson.decode(found)
if record.nonce ~= ARGV[5] then return 0 end
if record.state == 'done' then return 1 end
local time = redis.call('TIME')
record.at_ms = time[1] * 1000 + math.floor(time[2] / 1000)
record.state = ARGV[7]
-- The result stays text inside the record: Lua would change its numbers and empty lists.
if ARGV[7] == 'done' then record.result, record.fault = ARGV[8], ARGV[9] end
redis.call('HSET', ledger, ARGV[4], cjson.encode(record))
redis.call('PEXPIRE', ledger, ARGV[6])
return 1
