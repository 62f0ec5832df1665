#!lua flags=allow-oom
-- Replace the stored structure of one type, unless another process has, and announce drifts together with it.
-- ARGV: prefix, type, the record as it was read ('' = there was none), the new one, most types, then the event that
--   announces it (4 values), if there is one
-- Returns: put, moved or full, and the queues to wake.
prefix = take()
local type_name, before, after, most = take(), take(), take(), take_number()
local shapes, wake = prefix .. 'shapes', nil
if (call('HGET', shapes, type_name) or '') ~= before then return {'moved', {}} end
if before == '' and call('HLEN', shapes) >= most then return {'full', {}} end
call('HSET', shapes, type_name, after)
if has_more() then
  local _, queues = append_internal(unpack(take(4)))
  wake = queues
end
return {'put', wake or {}}
