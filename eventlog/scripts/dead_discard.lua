#!lua flags=allow-oom
-- Discard dead letters of one handler; the history keeps that they were dead.
-- ARGV: prefix, handler, act of an operator that it counts for or '', then ids
-- Returns: how many were there.
prefix = take()
local handler, act, gone = take(), take(), 0
while has_more() do gone = gone + call('XDEL', prefix .. 'dead:' .. handler, take()) end
if gone > 0 then
  call('HINCRBY', prefix .. 'stats:' .. handler, 'discarded', gone)
  if act ~= '' then call('HINCRBY', prefix .. 'audit:done', act, gone) end
end
return gone
