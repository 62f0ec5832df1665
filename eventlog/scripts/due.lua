#!lua flags=allow-oom
-- Pairs of the given handlers that are due now, by the clock of Redis; not of those that are paused.
-- ARGV: prefix, queue, limit, then handler names
local prefix, queue, limit = ARGV[1], ARGV[2], tonumber(ARGV[3])
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local ours = {}
for i = 4, #ARGV do ours[ARGV[i]] = true end
for _, name in ipairs(redis.call('HKEYS', prefix .. 'paused')) do ours[name] = nil end
local found = {}
for _, pair in ipairs(redis.call('ZRANGEBYSCORE', prefix .. 'due:' .. queue, '-inf', now_ms)) do
  if ours[string.match(pair, '^(.*)|%d+$')] then
    found[#found + 1] = pair
    if #found >= limit then break end
  end
end
return found
