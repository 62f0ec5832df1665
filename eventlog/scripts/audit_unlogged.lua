#!lua flags=allow-oom
-- Hand out the acts that no process has logged yet, oldest first.
-- ARGV: prefix, most to return
-- Returns: id and act of each.
prefix = take()
local most, tenant = take(), prefix .. 'tenant'
local logged = call('HGET', tenant, 'audited')
local found, last = {}, nil
for _, entry in ipairs(call('XRANGE', prefix .. 'audit', logged and '(' .. logged or '-', '+', 'COUNT', most)) do
  found[#found + 1] = {entry[1], entry[2][2] or ''}
  last = entry[1]
end
if last then call('HSET', tenant, 'audited', last) end
return found
