#!lua flags=allow-oom
-- Rebuild the hint of due pairs from the cursors and the last ids of the lanes. A pair is never due too late; one that
-- is due too early wakes a drain that finds nothing. A held pair is due when its hold ends.
-- ARGV: prefix, lanes
-- Returns: how many pairs were found due.
prefix = take()
local lanes, now, paused, last = take_number(), now_ms(), paused_handlers(), {}
local held = holds(now)
for lane = 0, lanes - 1 do
  last[lane] = lane_state(lane).last
  if last[lane] == '' then last[lane] = '0-0' end
end
local found = 0
local newest = call('HGETALL', prefix .. 'newest')
for i = 1, #newest, 2 do
  local name, queue = newest[i], queue_of(newest[i], newest[i + 1])
  for lane = 0, ((paused[name] or not queue) and 0 or lanes) - 1 do
    local pair = name .. '|' .. lane
    local cur = call('HGET', prefix .. 'cur', pair)
    if cur and not is_leased(name, lane) then
      local score = call('ZSCORE', prefix .. 'due:' .. queue, pair)
      if later(last[lane], cur)
          or (not score and redis.pcall('HLEN', prefix .. 'open:' .. name .. ':' .. lane) ~= 0) then -- or spoiled
        call('ZADD', prefix .. 'due:' .. queue, 'LT', held_in(held, name, lane) or now, pair)
        found = found + 1
      end
    end
  end
end
return found
