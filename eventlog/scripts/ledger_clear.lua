#!lua flags=allow-oom
-- Forget a once-only step that certainly did nothing, so that it may be called again.
-- ARGV: prefix, handler, scope, step, nonce
local ledger = ARGV[1] .. 'ledger:' .. ARGV[2] .. ':' .. ARGV[3]
local found = redis.call('HGET', ledger, ARGV[4])
if not found then return 0 end
local record = cjson.decode(found)
if record.nonce ~= ARGV[5] or record.state == 'done' then return 0 end
return redis.call('HDEL', ledger, ARGV[4])
