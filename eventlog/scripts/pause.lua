#!lua flags=allow-oom
-- Pause a handler: its lanes cannot be leased, and each drain gives its lane back.
-- ARGV: prefix, handler, since when and why (JSON), then the event if this is announced (4 values)
prefix = take()
local handler, note = take(), take()
if call('HEXISTS', prefix .. 'newest', handler) == 0 then return 'unknown' end
local was_running = call('HEXISTS', prefix .. 'paused', handler) == 0
call('HSET', prefix .. 'paused', handler, note)
if has_more() and was_running then append_internal(unpack(take(4))) end
return 'paused'
