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
