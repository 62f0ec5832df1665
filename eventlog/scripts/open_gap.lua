#!lua flags=allow-oom
-- Announce once that no receiver is open and able to write.
-- ARGV: prefix, after how long (ms), last beat as the caller knows it ('' = it asks), then the event (4 values)
-- Returns: the last beat (ms) if that is to be announced, or the queues to wake once it is; false if nothing is.
prefix = take()
local after_ms, known = take_number(), take()
local now = now_ms()
local last = last_beat(now + after_ms)
local begun, tenant = string.format('%d', last), prefix .. 'tenant'
if last == 0 or now - last <= after_ms or call('HGET', tenant, 'gap_opened') == begun then return false end
if known ~= begun then return begun end
call('HSET', tenant, 'gap_opened', begun)
local _, wake = append_internal(unpack(take(4)))
return wake or {}
