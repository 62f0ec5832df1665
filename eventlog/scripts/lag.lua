#!lua flags=allow-oom,no-writes
-- How far handlers are behind, without a body leaving Redis. See "Lag" in the README.
-- ARGV: prefix, lanes, then handler names
-- Returns per handler: events that wait, whether that is exact (else an upper bound), records in `open`, age of the
--   oldest unsettled event (ms, -1 = none), whether that is exact, the lanes that must be counted, records in `open`
--   that are due at a time of their own (retries and replays), for how long the first event that waits has done so
--   (ms, -1 = none; at most, since it may be unwanted or running), and records in `open` that are parked (not
--   exact where code that does not count them had the lane).
prefix = take()
local lanes, now, states = take_number(), now_ms(), {}
for lane = 0, lanes - 1 do states[lane] = lane_state(lane) end

-- Events that wait for a pair, and whether that is exact.
local function waiting_of(lane, cur, wants, record)
  local state = states[lane]
  if is_at_end(state, cur) then return 0, true end
  local n, stored_cur, beyond, uncounted, pos = unpack(record, 1, 5)
  n, beyond, uncounted = tonumber(n or nil), tonumber(beyond or nil), tonumber(uncounted or nil)
  if not n or not beyond or not uncounted or pos or not wants then return state.length, false end
  local waiting = wanted_sum(wants, lane) - n
  local new = state.uncounted - uncounted
  if stored_cur == cur and new == 0 then
    waiting = waiting - beyond
    if waiting >= 0 and waiting <= state.length then return waiting, true end
  elseif new >= 0 and waiting + new >= 0 then -- more was passed than counted, and more was added
    return math.min(waiting + new, state.length), false
  end
  return state.length, false
end

-- Id of the oldest event that is not settled (nil = none), and whether that is exact.
local function oldest_of(handler, lane, cur, first, opened, wants, record)
  local stored_cur, oldest = record[2], record[6]
  if not first and opened == 0 then return nil, true end
  if stored_cur == cur and oldest and oldest ~= '-' then return oldest, true end
  -- The first event after the cursor may be unwanted or settled: then the oldest is younger.
  local id, exact
  if first then
    local ahead = prefix .. 'ahead:' .. handler .. ':' .. lane
    id = first[1]
    for i = 1, #first[2], 2 do
      if first[2][i] == 't' then exact = wants and is_wanted(wants, first[2][i + 1]) end
    end
    exact = exact and call('SISMEMBER', ahead, id) == 0
  end
  -- Only code that does not keep the oldest leaves this to be found; counting ends it.
  if opened > 0 then
    exact = false
    for _, open_id in ipairs(call('HKEYS', prefix .. 'open:' .. handler .. ':' .. lane)) do
      if not id or later(id, open_id) then id = open_id end
    end
  end
  return id, exact
end

local function lag_of(handler)
  local text, wants = call('HGET', prefix .. 'wants', handler), nil
  if text then
    local set, sorted = wanted_set(text)
    if call('HGET', prefix .. 'counted', handler) == sorted then wants = set end
  end
  local waiting, is_exact, open, age, is_age_exact, to_count, retrying, waits_ms, parked = 0, 1, 0, -1, 1, {}, 0, -1, 0
  for lane = 0, lanes - 1 do
    local cur = call('HGET', prefix .. 'cur', handler .. '|' .. lane)
    if cur and string.match(cur, '^%d+%-%d+$') then
      local record = call('HMGET', passed_key(handler, lane), 'n', 'cur', 'beyond', 'uncounted', 'pos', 'oldest', 'parked')
      local here, exact = waiting_of(lane, cur, wants, record)
      local opened = call('HLEN', prefix .. 'open:' .. handler .. ':' .. lane)
      local first = here > 0 and call('XRANGE', prefix .. 'events:' .. lane, '(' .. cur, '+', 'COUNT', 1)[1]
      local id, id_exact = oldest_of(handler, lane, cur, first, opened, wants, record)
      if first then waits_ms = math.max(waits_ms, now - parts(first[1]), 0) end
      waiting, open = waiting + here, open + opened
      if opened > 0 then
        local timed = call('ZCARD', prefix .. 'opendue:' .. handler .. ':' .. lane)
        retrying = retrying + timed
        parked = parked + math.max(0, math.min(tonumber(record[7]) or math.huge, opened - timed))
      end
      if not exact then is_exact = 0 end
      if id then
        local age_here = math.max(0, now - parts(id))
        if age_here > age then age, is_age_exact = age_here, id_exact and 1 or 0 end
      end
      -- At the end of a lane nothing waits, but what is added next must be counted from there.
      if not exact or not record[1] or record[2] ~= cur or record[5] or tonumber(record[4]) ~= states[lane].uncounted then
        to_count[#to_count + 1] = lane
      end
    end
  end
  return {waiting, is_exact, open, age, is_age_exact, to_count, retrying, waits_ms, parked}
end

-- Of a handler with a spoiled key only this is certain: no more waits than the lanes hold.
local function lag_at_most()
  local length = 0
  for lane = 0, lanes - 1 do length = length + states[lane].length end
  return {length, 0, 0, -1, 0, {}, 0, -1, 0}
end
local answers = {}
while has_more() do
  local is_known, lag = pcall(lag_of, take())
  answers[#answers + 1] = is_known and lag or lag_at_most()
end
return answers
