#!lua flags=allow-oom
-- Record the end of a once-only step. It counts if the nonce is that of the step's last beginning, lease or not.
-- ARGV: prefix, handler, scope, step, nonce, ttl of the ledger (ms), state (done, uncertain), result (JSON text),
--   fault ('' = the result can be used)
prefix = take()
local ledger, step, nonce = prefix .. 'ledger:' .. take() .. ':' .. take(), take(), take()
local ttl_ms, state, result, fault = take(), take(), take(), take()
local record = read_record(call('HGET', ledger, step))
if not record or record.nonce ~= nonce then return 0 end
if record.state == 'done' then return 1 end
record.at_ms, record.state = now_ms(), state
-- The result stays text inside the record: Lua would change its numbers and empty lists.
if state == 'done' then record.result, record.fault = result, fault end
call('HSET', ledger, step, cjson.encode(record))
call('PEXPIRE', ledger, ttl_ms)
return 1
