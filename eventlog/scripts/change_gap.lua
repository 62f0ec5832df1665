#!lua flags=allow-oom
-- Replace the record of a gap, unless it changed since the caller read it.
-- ARGV: prefix, field of the record, the text that was read, the new text
-- Returns: whether it was replaced.
local gaps, field, before, after = take() .. 'gaps', take(), take(), take()
if call('HGET', gaps, field) ~= before then return 0 end
call('HSET', gaps, field, after)
return 1
