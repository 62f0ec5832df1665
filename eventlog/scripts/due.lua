#!lua flags=allow-oom
-- Pairs of the given handlers that are due now, longest first, except of paused handlers and held pairs. For a second, a pair that was
-- given back for a fair share (its score has a half millisecond) is only for processes below their share.
-- ARGV: prefix, queue, limit, then 2 values per handler: name, how many given pairs it may take at once ('' = any)
prefix = take()
local queue, limit, ours = take(), take_number(), {}
while has_more() do
  local name, room = take(), take()
  ours[name] = tonumber(room) or math.huge
end
for name in pairs(paused_handlers()) do ours[name] = nil end
spread_fresh()
local found, now, first = {}, now_ms(), 0
local held, later_due = holds(now), {} -- older code may have made a held pair due
repeat
  local page = call('ZRANGEBYSCORE', prefix .. 'due:' .. queue, '-inf', now, 'WITHSCORES', 'LIMIT', first, limit)
  for i = 1, #page, 2 do
    local name, lane = pair_parts(page[i])
    local score, room = tonumber(page[i + 1]), name and ours[name]
    local until_ms = name and held_in(held, name, lane)
    if until_ms then
      later_due[#later_due + 1], later_due[#later_due + 2] = until_ms, page[i]
      room = nil
    end
    if room and score % 1 ~= 0 and score > now - 1000 then
      room, ours[name] = room > 0, room - 1
    end
    if room and #found < limit then found[#found + 1] = page[i] end
  end
  first = first + #page / 2
until #found >= limit or #page < 2 * limit
for i = 1, #later_due, 2 do call('ZADD', prefix .. 'due:' .. queue, 'XX', later_due[i], later_due[i + 1]) end
return found
