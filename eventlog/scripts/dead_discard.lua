#!lua flags=allow-oom
-- Discard dead letters of one handler; the history keeps that they were dead.
-- ARGV: prefix, handler, then ids
-- Returns: how many were there.
prefix = take()
local handler, gone = take(), 0
while has_more() do gone = gone + call('XDEL', prefix .. 'dead:' .. handler, take()) end
if gone > 0 then call('HINCRBY', prefix .. 'stats:' .. handler, 'discarded', gone) end
return gone
