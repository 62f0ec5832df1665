#!lua flags=allow-oom
-- Reserve a slot of a throttle for an attempt of an event, or give it back. Reserving needs a live lease.
-- ARGV: prefix, reserve or return, handler, scope, event id, nonce of the attempt, and to reserve: lane, lease token,
--   slots, window (ms for which a slot is taken)
-- Returns, to reserve: lost; reserved, and for the same nonce again; kept (an earlier attempt of the event reserved it
-- and never said how it ended, so it is not given back); or over, and ms until a slot is free.
-- The hash has, for each event with a slot, `<ms> <nonce> <state>`. Its size is bounded by the number of slots.
prefix = take()
local mode, handler, scope, event, nonce = take(), take(), take(), take(), take()
local slots = prefix .. 'ledger:' .. handler .. ':' .. scope
local function read(entry)
  local at, by, state = string.match(entry, '^(%d+) (%S+) (%S+)$')
  return tonumber(at), by, state
end

if mode == 'return' then
  local found = call('HGET', slots, event)
  if found then
    local _, by, state = read(found)
    if by == nonce and state == 'reserved' then call('HDEL', slots, event) end
  end
  return {}
end

local lane, token, most, window_ms = take(), take(), take_number(), take_number()
if call('HGET', prefix .. 'lease:' .. handler .. ':' .. lane, 'token') ~= token then return {'lost'} end
local now, others, own = now_ms(), {}, nil
local all = call('HGETALL', slots)
for i = 1, #all, 2 do
  local at = read(all[i + 1]) or 0 -- what is no slot is as old as that
  if at > now then -- the clock of Redis went back: the slot is taken for one window from now at most
    at = now
    all[i + 1] = string.gsub(all[i + 1], '^%d+', string.format('%d', now))
    call('HSET', slots, all[i], all[i + 1])
  end
  if at <= now - window_ms then
    call('HDEL', slots, all[i])
  elseif all[i] == event then
    own = all[i + 1]
  else
    others[#others + 1] = at
  end
end
if #others >= most then
  table.sort(others)
  return {'over', others[#others - most + 1] + window_ms - now}
end
local state = 'reserved'
if own then
  local _, by, known = read(own)
  state = by == nonce and known or 'kept'
end
call('HSET', slots, event, string.format('%d ', now) .. nonce .. ' ' .. state)
call('PEXPIRE', slots, window_ms)
return {state}
