#!lua flags=allow-oom
-- Remember a call of a handler that is about to leave, unless it would continue a chain of calls that is too long. Or
-- forget it. The same nonce is the same call.
-- ARGV: prefix, remember or forget, nonce, text of the call, most calls of a chain, time of a chain (ms), calls kept
--   per entity, time of the call of which the event is an echo (ms, '' = none), lift (1 = the chains begin again),
--   then entities
-- Returns: nothing, or why it must not leave: entity, calls of its chain, ms until one of them is too old to count.
-- acted:<entity> holds `<ms>;<text>`, the newest first, between bars. chain:<entity> holds nonces by time.
prefix = take()
local mode, nonce, text, depth, life_ms, kept = take(), take(), take(), take_number(), take_number(), take_number()
local echo_at, lift = tonumber(take()), take() == '1'
local entities, now = {}, now_ms()
while has_more() do entities[#entities + 1] = take() end
local function chain_of(entity) return prefix .. 'chain:' .. entity end

if mode == 'remember' and echo_at then
  for _, entity in ipairs(entities) do
    local chain = chain_of(entity)
    if lift then call('DEL', chain) end
    call('ZREMRANGEBYSCORE', chain, '-inf', now - life_ms)
    call('ZREMRANGEBYSCORE', chain, now + 1, '+inf') -- from before the clock of Redis went back
    local calls = call('ZCARD', chain)
    if calls >= depth and not call('ZSCORE', chain, nonce) then
      local oldest = call('ZRANGE', chain, 0, 0, 'WITHSCORES')
      return {entity, calls, oldest[2] + life_ms - now}
    end
  end
end

for _, entity in ipairs(entities) do
  local chain, acted = chain_of(entity), prefix .. 'acted:' .. entity
  if mode == 'forget' then
    call('ZREM', chain, nonce)
  elseif echo_at then
    -- The call that began the chain counts too; it was not known to be one then.
    if not lift and call('EXISTS', chain) == 0 and echo_at > now - life_ms and echo_at <= now then
      call('ZADD', chain, echo_at, 'first')
    end
    call('ZADD', chain, now, nonce)
    call('PEXPIRE', chain, life_ms)
  end
  local entries = {}
  if mode == 'remember' then entries[1] = string.format('%d', now) .. ';' .. text end
  for entry in string.gmatch(call('GET', acted) or '', '[^|]+') do
    local at = tonumber(string.match(entry, '^(%d+);')) or 0
    local is_same = string.sub(entry, -#nonce) == nonce
    if #entries < kept and at > now - life_ms and at <= now and not is_same then entries[#entries + 1] = entry end
  end
  if #entries > 0 then call('SET', acted, table.concat(entries, '|'), 'PX', life_ms) else call('DEL', acted) end
end
if mode == 'remember' then call('SET', prefix .. 'acting', '1', 'PX', life_ms) end
return {}
