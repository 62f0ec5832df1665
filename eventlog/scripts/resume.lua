#!lua flags=allow-oom
-- Resume a paused handler. Every lane becomes due, since nothing was made due during the pause.
-- ARGV: prefix, handler, lanes
prefix = take()
local handler, lanes = take(), take_number()
local version = call('HGET', prefix .. 'newest', handler)
if not version then return 'unknown' end
if call('HDEL', prefix .. 'paused', handler) == 0 then return 'running' end
local queue, now = queue_of(handler, version), now_ms()
for lane = 0, lanes - 1 do mark_due(queue, handler, lane, now) end
return 'resumed'
