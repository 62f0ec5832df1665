#!lua flags=no-writes,allow-oom
-- Which of these entries are not in their stream.
-- ARGV: prefix, then two values per entry: stream (without the prefix), id
-- Returns: the positions of those that are not there, counted from 0.
local prefix, lost = ARGV[1], {}
for at = 2, #ARGV, 2 do
  if #redis.call('XRANGE', prefix .. ARGV[at], ARGV[at + 1], ARGV[at + 1]) == 0 then
    lost[#lost + 1] = at / 2 - 1
  end
end
return lost
