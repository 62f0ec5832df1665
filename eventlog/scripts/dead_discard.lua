#!lua flags=allow-oom
-- Throw dead letters of one handler away; the history keeps that they were dead.
-- ARGV: prefix, handler, then ids
-- Returns: how many were there.
local prefix, handler = ARGV[1], ARGV[2]
local gone = 0
for i = 3, #ARGV do gone = gone + redis.call('XDEL', prefix .. 'dead:' .. handler, ARGV[i]) end
if gone > 0 then redis.call('HINCRBY', prefix .. 'stats:' .. handler, 'discarded', gone) end
return gone
