#!lua flags=allow-oom
-- Queues to wake: each has a due pair without a drain that is neither paused nor held, and was not woken recently.
-- ARGV: prefix, wake throttle (ms), life of a lease (ms), lanes
prefix = take()
local throttle_ms, lease_ms, lanes = take_number(), take_number(), take_number()
local now, paused, wake = now_ms(), paused_handlers(), {}

-- The clock of Redis went back: leases of dead workers would last for as long as it did, and times that pairs are due
-- at mean nothing. A pair that is due too early wakes a drain, which waits for as long as its events have to.
local swept_ms = count_of(call('HGET', prefix .. 'tenant', 'swept'))
call('HSET', prefix .. 'tenant', 'swept', string.format('%d', now))
if swept_ms > now + 1000 then
  for _, name in ipairs(call('HKEYS', prefix .. 'newest')) do
    for lane = 0, lanes - 1 do
      local lease = prefix .. 'lease:' .. name .. ':' .. lane
      if call('PTTL', lease) > lease_ms then call('PEXPIRE', lease, lease_ms) end
    end
  end
  call('DEL', prefix .. 'held') -- those whose service is still away are held again by their next failure
  for _, queue in ipairs(call('SMEMBERS', prefix .. 'queues')) do
    local due = prefix .. 'due:' .. queue
    for _, pair in ipairs(call('ZRANGEBYSCORE', due, '(' .. now, '+inf')) do
      local name, lane = pair_parts(pair)
      call('ZADD', due, name and is_leased(name, lane) and now + lease_ms or now, pair)
    end
    call('DEL', prefix .. 'wake:' .. queue)
  end
end

spread_fresh()
local held = holds(now)
for _, queue in ipairs(call('SMEMBERS', prefix .. 'queues')) do
  for _, pair in ipairs(call('ZRANGEBYSCORE', due_key(queue), '-inf', now)) do
    local name, lane = pair_parts(pair)
    if not name then
      call('ZREM', prefix .. 'due:' .. queue, pair) -- no pair: another client wrote it
    elseif not paused[name] and not held_in(held, name, lane) and not is_leased(name, lane) then
      if call('SET', prefix .. 'wake:' .. queue, '1', 'NX', 'PX', throttle_ms) then wake[#wake + 1] = queue end
      break
    end
  end
end
return wake
