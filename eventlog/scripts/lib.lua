-- Precedes every script, since Redis gives a script no way to load another.
local call = redis.call
local prefix -- of every key; each script that needs it sets it first

-- Arguments are read in order: take() returns the next one, take(n) a list of the next n. Lua 5.1 evaluates lists from
-- left to right, so `local a, b = take(), take()` is in order.
local taken = 0
local function take(n)
  if not n then
    taken = taken + 1
    return ARGV[taken]
  end
  local first = taken + 1
  taken = taken + n
  return {unpack(ARGV, first, taken)}
end
local function take_number() return tonumber(take()) end
local function has_more() return taken < #ARGV end

-- Unix time by the clock of Redis.
local function now_ms()
  local time = call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Stream ids are <ms>-<number>.
local function parts(id)
  local ms, number = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(number)
end
local function later(a, b)
  local a_ms, a_number = parts(a)
  local b_ms, b_number = parts(b)
  return a_ms > b_ms or (a_ms == b_ms and a_number > b_number)
end

-- Queue and name of each handler in one entry of the `routes` hash.
local function each_route(route) return string.gmatch(route or '', '([^\t\n]+)\t([^\t\n]+)') end

local function queue_of(handler, version)
  return cjson.decode(call('HGET', prefix .. 'handlers', handler .. '|' .. version)).declaration.queue
end

local function paused_handlers()
  local paused = {}
  for _, name in ipairs(call('HKEYS', prefix .. 'paused')) do paused[name] = true end
  return paused
end

local function is_leased(handler, lane)
  return call('EXISTS', prefix .. 'lease:' .. handler .. ':' .. lane) == 1
end

-- Make a pair due. A pair with a drain needs nothing: its next step reads on, or checks again before it sleeps.
local function mark_due(queue, handler, lane, at_ms)
  if is_leased(handler, lane) then return false end
  call('ZADD', prefix .. 'due:' .. queue, 'LT', at_ms, handler .. '|' .. lane)
  return true
end

-- What follows is for the lag; "Lag" in the README says what these numbers mean.
local function passed_key(handler, lane) return prefix .. 'passed:' .. handler .. ':' .. lane end

-- The types of one entry of `wants`: as a set and as sorted text, since code of before wrote them in any order.
local function wanted_set(text)
  local set, list = {}, {}
  for name in string.gmatch(text, '[^\n]+') do
    set[name] = true
    list[#list + 1] = name
  end
  table.sort(list)
  return set, table.concat(list, '\n')
end
local function is_wanted(set, type_name) return set['*'] or set[type_name] or false end

-- How many wanted events were ever added to a lane. The entry without a type counts all of them.
local function wanted_sum(set, lane)
  local fields, sum = {}, 0
  if set['*'] then
    fields[1] = lane .. '|'
  else
    for name in pairs(set) do fields[#fields + 1] = lane .. '|' .. name end
  end
  for _, by in ipairs(call('HMGET', prefix .. 'added', unpack(fields))) do sum = sum + (by or 0) end
  return sum
end

-- A lane's length, last id ('' = empty), and how many events were added without being counted.
local function lane_state(lane)
  local stream, state, ever = prefix .. 'events:' .. lane, {length = 0, last = ''}, 0
  if call('EXISTS', stream) == 1 then
    local info = call('XINFO', 'STREAM', stream)
    for i = 1, #info, 2 do
      if info[i] == 'length' then state.length = info[i + 1]
      elseif info[i] == 'entries-added' then ever = info[i + 1]
      elseif info[i] == 'last-entry' and info[i + 1] then state.last = info[i + 1][1] end
    end
  end
  state.uncounted = ever - (call('HGET', prefix .. 'added', lane .. '|') or 0)
  return state
end
local function is_at_end(state, cur) return state.last == '' or not later(state.last, cur) end
