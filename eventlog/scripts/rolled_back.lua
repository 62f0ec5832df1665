#!lua flags=allow-oom
-- Record that the log went back, unless another process did since the caller last saw it whole.
-- ARGV: prefix, when the caller saw more than is left (ms), from (ms), gap (JSON)
-- Returns: 1 when it was recorded now.
prefix = take()
local seen_ms, from_ms, gap = take_number(), take_number(), take()
local recorded = call('HGET', prefix .. 'tenant', 'rolled_back_at')
if count_of(recorded) >= seen_ms then return 0 end
call('HSET', prefix .. 'tenant', 'rolled_back_at', string.format('%d', now_ms()))
while call('HSETNX', prefix .. 'gaps', string.format('%d', from_ms), gap) == 0 do from_ms = from_ms + 1 end
return 1
