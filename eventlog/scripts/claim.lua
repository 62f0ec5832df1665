#!lua flags=allow-oom
-- Record facts about the log unless they are recorded already.
-- ARGV: prefix, then for each fact: name, value, '1' to replace what is recorded
-- Returns: all that is recorded, as name, value, name, ...
prefix = take()
local tenant = prefix .. 'tenant'
while has_more() do
  local name, value, replace = take(), take(), take()
  call(replace == '1' and 'HSET' or 'HSETNX', tenant, name, value)
end
return call('HGETALL', tenant)
