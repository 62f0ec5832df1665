#!lua flags=allow-oom
-- Pause a handler: its lanes cannot be leased, and each drain gives its lane back.
-- ARGV: prefix, handler, since when and why (JSON)
prefix = take()
local handler, note = take(), take()
if call('HEXISTS', prefix .. 'newest', handler) == 0 then return 'unknown' end
call('HSET', prefix .. 'paused', handler, note)
return 'paused'
