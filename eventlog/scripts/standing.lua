#!lua flags=allow-oom
-- Store what the log uses, and whether it is full.
-- ARGV: prefix, why it is full ('' = it is not), how long that holds unless it is stored again (ms), then field, value
prefix = take()
local why, holds_ms = take(), take()
call('HSET', prefix .. 'standing', unpack(take(#ARGV - 3)))
if why == '' then call('DEL', prefix .. 'full') else call('SET', prefix .. 'full', why, 'PX', holds_ms) end
