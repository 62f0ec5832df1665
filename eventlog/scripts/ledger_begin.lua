#!lua flags=allow-oom
-- Begin a once-only step, or return what is known about it. Needs a live lease. The same nonce gets the same answer
-- again.
-- ARGV: prefix, handler, lane, lease token, scope, step, nonce, ttl of the ledger (ms), ttl of each step (ms, 0 = as
--   long as the ledger), hold (ms within which an attempt under this lease ends), grace (ms within which a holder
--   without a lease may still report), again (1 = begin an uncertain step a second time)
prefix = take()
local handler, lane, token, scope, step, nonce = take(), take(), take(), take(), take(), take()
local ttl_ms, step_ttl_ms, hold_ms, grace_ms = take(), take_number(), take_number(), take_number()
local again = take() == '1'
if call('HGET', prefix .. 'lease:' .. handler .. ':' .. lane, 'token') ~= token then return {'lost'} end
local ledger = prefix .. 'ledger:' .. handler .. ':' .. scope
local now = now_ms()

local found = call('HGET', ledger, step)
if found then
  local record = read_record(found) or {v = 1, state = 'uncertain'} -- another client wrote it
  if record.v ~= 1 then return redis.error_reply('ERR ledger record of version ' .. tostring(record.v)) end
  call('PEXPIRE', ledger, ttl_ms)
  if step_ttl_ms > 0 then
    record.used_ms = now
    call('HSET', ledger, step, cjson.encode(record))
  end
  if record.state == 'done' and type(record.result) == 'string' then
    return {'done', record.result, type(record.fault) == 'string' and record.fault or ''}
  end
  if record.nonce == nonce then return {'begun'} end
  if record.state == 'begun' and type(record.until_ms) == 'number' then
    if record.token ~= token and not record.left then
      record.left, record.until_ms = true, math.min(record.until_ms, now + grace_ms)
      call('HSET', ledger, step, cjson.encode(record))
    end
    if record.until_ms > now + hold_ms then -- the clock of Redis went back, or the attempt had a longer time limit
      record.until_ms = now + hold_ms
      call('HSET', ledger, step, cjson.encode(record))
    end
    if now < record.until_ms then return {'held', record.until_ms - now} end
    record.state = 'uncertain'
    call('HSET', ledger, step, cjson.encode(record))
  end
  if not again then return {'uncertain'} end
elseif step_ttl_ms > 0 then
  -- An entity is never settled, so its old steps go one by one: each new step checks a few.
  local some = call('HRANDFIELD', ledger, 4, 'WITHVALUES')
  for i = 1, #some, 2 do
    local other = read_record(some[i + 1])
    local used_ms = other and number_of(other.used_ms or other.at_ms)
    if used_ms and used_ms < now - step_ttl_ms then call('HDEL', ledger, some[i]) end
  end
end
call('HSET', ledger, step, cjson.encode({
  v = 1, state = 'begun', nonce = nonce, token = token, at_ms = now, until_ms = now + hold_ms,
}))
call('PEXPIRE', ledger, ttl_ms)
return {'begun'}
