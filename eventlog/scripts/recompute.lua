#!lua flags=allow-oom
-- Rebuild the hint of who is due from the cursors against the lanes' last ids. Never later than needed: what it
-- gets wrong wakes a drain that finds nothing.
-- ARGV: prefix, lanes
local prefix, lanes = ARGV[1], tonumber(ARGV[2])
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)

local last = {}
for lane = 0, lanes - 1 do
  local newest = redis.call('XREVRANGE', prefix .. 'events:' .. lane, '+', '-', 'COUNT', 1)
  last[lane] = newest[1] and newest[1][1] or '0-0'
end
local paused = {}
for _, name in ipairs(redis.call('HKEYS', prefix .. 'paused')) do paused[name] = true end
local found = 0
local newest = redis.call('HGETALL', prefix .. 'newest')
for i = 1, #newest, 2 do
  local name = newest[i]
  local record = redis.call('HGET', prefix .. 'handlers', name .. '|' .. newest[i + 1])
  local due = prefix .. 'due:' .. cjson.decode(record).declaration.queue
  for lane = 0, (paused[name] and 0 or lanes) - 1 do
    local pair = name .. '|' .. lane
    local cur = redis.call('HGET', prefix .. 'cur', pair)
    if cur and redis.call('EXISTS', prefix .. 'lease:' .. name .. ':' .. lane) == 0 then
      local score = redis.call('ZSCORE', due, pair)
      if later(last[lane], cur)
          or (not score and redis.call('HLEN', prefix .. 'open:' .. name .. ':' .. lane) > 0) then
        redis.call('ZADD', due, 'LT', now_ms, pair)
        found = found + 1
      end
    end
  end
end
return found
