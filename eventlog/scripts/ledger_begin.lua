#!lua flags=allow-oom
-- Begin a once-only step, or say what is known of it. Only under a live lease; asked again with the same nonce it
-- gives the same answer.
-- ARGV: prefix, handler, lane, lease token, scope, step, nonce, ttl of the ledger (ms), ttl of each step (ms, 0 = as
--   long as the ledger), hold (ms: within it an attempt under this lease has ended), grace (ms: within it a holder
--   without a lease may still report), again (1 = an uncertain step is begun once more)
local prefix, handler, lane, token = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local scope, step, nonce = ARGV[5], ARGV[6], ARGV[7]
local ttl_ms, step_ttl_ms, hold_ms, grace_ms = ARGV[8], tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])
if redis.call('HGET', prefix .. 'lease:' .. handler .. ':' .. lane, 'token') ~= token then return {'lost'} end
local ledger = prefix .. 'ledger:' .. handler .. ':' .. scope
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)

local found = redis.call('HGET', ledger, step)
if found then
  local record = cjson.decode(found)
  if record.v ~= 1 then return redis.error_reply('ERR ledger record of version ' .. tostring(record.v)) end
  redis.call('PEXPIRE', ledger, ttl_ms)
  if record.state == 'done' then return {'done', record.result, record.fault} end
  if record.nonce == nonce then return {'begun'} end
  if record.state == 'begun' then
    if record.token ~= token and not record.left then
      record.left, record.until_ms = true, math.min(record.until_ms, now_ms + grace_ms)
      redis.call('HSET', ledger, step, cjson.encode(record))
    end
    if now_ms < record.until_ms then return {'held', record.until_ms - now_ms} end
    record.state = 'uncertain'
    redis.call('HSET', ledger, step, cjson.encode(record))
  end
  if ARGV[12] ~= '1' then return {'uncertain'} end
elseif step_ttl_ms > 0 then
  -- An entity never ends, so its old steps have to go one by one: a few are looked at for every new one.
  local some = redis.call('HRANDFIELD', ledger, 4, 'WITHVALUES')
  for i = 1, #some, 2 do
    if cjson.decode(some[i + 1]).at_ms < now_ms - step_ttl_ms then redis.call('HDEL', ledger, some[i]) end
  end
end
redis.call('HSET', ledger, step, cjson.encode({
  v = 1, state = 'begun', nonce = nonce, token = token, at_ms = now_ms, until_ms = now_ms + hold_ms,
}))
redis.call('PEXPIRE', ledger, ttl_ms)
return {'begun'}
