#!lua flags=allow-oom
-- Remove a once-only step that certainly had no effect, so that it may be called again.
-- ARGV: prefix, handler, scope, step, nonce
prefix = take()
local ledger, step, nonce = prefix .. 'ledger:' .. take() .. ':' .. take(), take(), take()
local record = read_record(call('HGET', ledger, step))
if not record or record.nonce ~= nonce or record.state == 'done' then return 0 end
return call('HDEL', ledger, step)
