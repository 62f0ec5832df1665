#!lua flags=no-writes,allow-oom
-- Answer several reads as of one moment. Redis 7.0 refuses MULTI on a full server, also for reads.
-- ARGV: prefix, then for each read: number of words, command, key (without the prefix), the other words
-- Returns: the replies.
prefix = take()
local replies = {}
while has_more() do
  local words = take(take_number())
  words[2] = prefix .. words[2]
  replies[#replies + 1] = call(unpack(words))
end
return replies
