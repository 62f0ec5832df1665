#!lua flags=no-writes,allow-oom
-- Which of these entries are missing in their stream.
-- ARGV: prefix, then two values per entry: stream (without the prefix), id
-- Returns: the positions of the missing ones, from 0.
prefix = take()
local lost, at = {}, 0
while has_more() do
  local stream, id = prefix .. take(), take()
  if #call('XRANGE', stream, id, id) == 0 then lost[#lost + 1] = at end
  at = at + 1
end
return lost
