#!lua flags=allow-oom
-- Append an internal event that goes with no other change.
-- ARGV: prefix, then the event (4 values)
-- Returns: the queues to wake.
prefix = take()
local _, wake = append_internal(unpack(take(4)))
return wake or {}
