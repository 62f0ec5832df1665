#!lua flags=allow-oom
-- Note that a drain has the keys of all open events, or asks for none (take.lua).
-- ARGV: prefix, handler, lane, lease token
prefix = take()
local handler, lane, token = take(), take(), take()
if call('HGET', prefix .. 'lease:' .. handler .. ':' .. lane, 'token') == token then
  call('HDEL', prefix .. 'asking', handler .. '|' .. lane)
end
return {}
