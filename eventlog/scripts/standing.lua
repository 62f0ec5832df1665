#!lua flags=allow-oom
-- Store what the log uses, and whether it is full.
-- ARGV: prefix, why it is full ('' = it is not), how long that holds unless it is stored again (ms), the event that
--   announces it (4 values), then field, value
prefix = take()
local why, holds_ms, event = take(), take(), take(4)
call('HSET', prefix .. 'standing', unpack(take(#ARGV - taken)))
if why == '' then return call('DEL', prefix .. 'full') end
local was_full = call('EXISTS', prefix .. 'full') == 1
call('SET', prefix .. 'full', why, 'PX', holds_ms)
if not was_full then append_internal(unpack(event)) end
