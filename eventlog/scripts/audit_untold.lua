#!lua flags=allow-oom
-- Acts that were not handed out yet, oldest first.
-- ARGV: prefix, most to return
-- Returns: id and act of each.
prefix = take()
local most, tenant = take(), prefix .. 'tenant'
local told = call('HGET', tenant, 'audited')
local found, last = {}, nil
for _, entry in ipairs(call('XRANGE', prefix .. 'audit', told and '(' .. told or '-', '+', 'COUNT', most)) do
  found[#found + 1] = {entry[1], entry[2][2] or ''}
  last = entry[1]
end
if last then call('HSET', tenant, 'audited', last) end
return found
