#!lua flags=allow-oom
-- Write down an act of an operator.
-- ARGV: prefix, how many acts are kept, the act (JSON)
-- Returns: its id.
prefix = take()
local most, act = take(), take()
return call('XADD', prefix .. 'audit', 'MAXLEN', '=', most, '*', 'd', act)
