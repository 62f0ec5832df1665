#!lua flags=allow-oom
-- Draw tokens for calls to an API that limits their rate, and take in what its answers said about the limit.
-- ARGV: prefix, process, configured calls per second ('' = none), reserved tokens wanted, ordinary tokens wanted, which
--   of the processes of this name it is, how many of its draws were answered; then since the last one that was answered:
--   reserved calls made, ordinary calls made, tokens that were not used, answers that refused a call for its rate; and of
--   the last answer that said so, '' = it did not: limit, remaining, ms until the limit resets, ms to pause.
-- Returns: reserved and ordinary tokens, ms until there may be more of each, calls per second ('' = no limit is known,
--   then all that is wanted is given), processes that drew within the last seconds, live processes.
-- `budget` holds: tokens, at (ms of the last refill); limit, left, reset (ms), period (ms), seen (ms): what answers said;
--   pause (ms), strikes, refused_at (ms); learnt (calls per second), raised (ms), made, made_before, made_since (ms): for
--   an API that refuses without naming a limit; reserved, ordinary, refused: counted for ever.
prefix = take()
local process, configured = take(), tonumber(take())
local want_reserved, want, instance, answered = take_number(), take_number(), take(), take_number()
local used_reserved, used, back, refused = take_number(), take_number(), take_number(), take_number()
local limit, remaining, reset_ms, pause_ms = tonumber(take()), tonumber(take()), tonumber(take()), tonumber(take())

local SHARE = 0.2                 -- of the tokens, only for reserved calls
local LEAST_ROOM = 5              -- tokens that a rate alone may save, so that a share of them is one
local PERIOD_MS = 60000           -- where no answer says when the limit resets
local PROBE_PER_S = 1             -- then the rate is no lower: the answer shows whether the period is over
local LONGEST_PAUSE_MS, LONGEST_STRIKE = 900000, 5
local LIMIT_LIFE_MS, LEARNT_LIFE_MS = 3600000, 600000
local LEAST_LEARNT, RAISE_MS, RAISE_BY, COUNT_MS = 0.5, 10000, 1.25, 10000
local USER_LIFE_MS, BEAT_LIFE_MS, SAID_LIFE_MS = 10000, 4000, 600000

local now, key, state = now_ms(), prefix .. 'budget', {}
local stored = call('HGETALL', key)
for i = 1, #stored, 2 do state[stored[i]] = number_of(stored[i + 1]) end
-- A past moment in the future is one from before the clock of Redis went back, and no pause is longer than this.
for _, name in ipairs({'at', 'seen', 'refused_at', 'raised', 'made_since'}) do
  if state[name] and state[name] > now then state[name] = now end
end
if state.pause and state.pause > now + LONGEST_PAUSE_MS then state.pause = now + LONGEST_PAUSE_MS end
if state.reset and state.period and state.reset > now + state.period then state.reset = now + state.period end
if state.seen and now - state.seen > LIMIT_LIFE_MS then
  state.limit, state.left, state.reset, state.period, state.seen = nil, nil, nil, nil, nil
end
if state.refused_at and now - state.refused_at > LEARNT_LIFE_MS then state.learnt, state.strikes = nil, nil end

-- Calls per second, tokens that can be saved, and whether the limit that answers name is what binds.
local function rate()
  local per_s, room, observed
  if state.limit then
    per_s, room, observed = state.limit * 1000 / (state.period or PERIOD_MS), state.limit, true
    if not state.period then per_s = math.max(per_s, PROBE_PER_S) end
  end
  for _, other in ipairs({state.learnt or false, configured or false}) do
    if other and (not per_s or other < per_s) then
      per_s, room, observed = other, math.min(room or math.huge, math.max(other, LEAST_ROOM)), false
    end
  end
  return per_s, room, observed
end

local per_s, room, observed = rate()
local tokens = state.tokens or room or 0
local is_over = state.reset and now >= state.reset
if is_over then state.reset, state.left = nil, nil end
if per_s then
  if is_over and observed then
    tokens = room
  elseif not (observed and state.reset) then -- within a period that AMPECO counts itself, nothing comes back
    tokens = math.min(room, tokens + math.max(0, now - (state.at or now)) / 1000 * per_s)
  end
  tokens = math.min(room, tokens + back)
end

-- What was called, without what a draw counted whose answer did not arrive.
local said = prefix .. 'budget:said:' .. process
local before = read_record(call('GET', said)) or {}
for n = 1, 4 do if type(before[n]) ~= 'number' then before[5] = nil end end
if before[5] ~= instance then before = {-1, 0, 0, 0, instance} end -- forks follow one another under one name
if before[1] > answered then -- a draw that took longer than a later one
  used_reserved, used, refused = 0, 0, 0
elseif before[1] < answered then
  before = {answered, 0, 0, 0, instance}
end
local function new_of(n, counted)
  local new = math.max(0, counted - before[n])
  before[n] = before[n] + new
  return new
end
used_reserved, used, refused = new_of(2, used_reserved), new_of(3, used), new_of(4, refused)
if used_reserved + used + refused > 0 then call('SET', said, cjson.encode(before), 'PX', SAID_LIFE_MS) end
state.reserved, state.ordinary = (state.reserved or 0) + used_reserved, (state.ordinary or 0) + used
if not state.made_since or now - state.made_since >= COUNT_MS then
  state.made_before = state.made_since and now - state.made_since < 2 * COUNT_MS and state.made or 0
  state.made, state.made_since = 0, now
end
state.made = (state.made or 0) + used_reserved + used

-- What answers said.
if limit and limit > 0 then state.limit = limit end
if remaining and not state.limit then state.limit = math.max(1, remaining) end
if limit or remaining then
  state.seen = now
  local is_new = false
  if reset_ms then
    local resets = now + reset_ms
    is_new = state.reset ~= nil and resets > state.reset + 1500
    state.period = math.min(86400000, math.max(1000, state.period or 0, reset_ms))
    state.reset = resets
  end
  if not remaining and not per_s then
    tokens = state.limit
  elseif remaining then
    local jump = state.left and remaining > state.left + math.max(2, state.limit / 4)
    -- Without a known limit before, tokens say nothing.
    if is_new or jump or not per_s then tokens = remaining else tokens = math.min(tokens, remaining) end
    state.left = remaining
    if remaining == 0 and state.reset and state.reset > now then
      state.pause = math.max(state.pause or 0, math.min(state.reset, now + LONGEST_PAUSE_MS))
    end
  end
end
if refused > 0 then
  state.refused = (state.refused or 0) + refused
  local is_another = not state.refused_at or now - state.refused_at > 1000 -- many calls may meet one refusal
  if pause_ms then
    state.pause = math.max(state.pause or 0, now + math.min(pause_ms, LONGEST_PAUSE_MS))
  elseif is_another then
    state.pause = math.max(state.pause or 0, now + 1000 * 2 ^ (state.strikes or 0))
    state.strikes = math.min(LONGEST_STRIKE, (state.strikes or 0) + 1)
  end
  if not state.limit and is_another then
    local lately = math.max(state.made, state.made_before) * 1000 / COUNT_MS
    state.learnt = math.max(LEAST_LEARNT, (state.learnt or lately) / 2)
    state.raised = now
  end
  tokens, state.left, state.refused_at = 0, 0, now
elseif state.learnt and now - (state.raised or 0) >= RAISE_MS then
  state.learnt, state.raised = state.learnt * RAISE_BY, now
end
if state.strikes and now - (state.refused_at or 0) > 60000 then state.strikes = nil end

-- Who draws, and who may.
local users = prefix .. 'budget:users'
call('ZREMRANGEBYSCORE', users, '-inf', now - USER_LIFE_MS)
call('ZREMRANGEBYSCORE', users, now + USER_LIFE_MS, '+inf')
call('ZADD', users, now, process)
call('PEXPIRE', users, USER_LIFE_MS)
local drawing = call('ZCARD', users)
local alive = math.max(drawing, call('ZCOUNT', prefix .. 'workers:beats', now - BEAT_LIFE_MS, '+inf'))

-- What is given. No process takes all that is left, as long as there is more than one token for each.
local given_reserved, given, wait_reserved_ms, wait_ms = 0, 0, 0, 0
local function part(free, wanted)
  if free < 1 then return 0 end
  return math.min(wanted, math.max(1, math.floor(free / drawing)))
end
per_s, room, observed = rate()
if state.pause and state.pause > now then
  wait_reserved_ms = state.pause - now
  wait_ms = wait_reserved_ms
elseif not per_s then
  given_reserved, given = want_reserved, want
else
  tokens = math.min(tokens, room)
  local kept = math.floor(room * SHARE)
  given_reserved = part(tokens, want_reserved)
  tokens = tokens - given_reserved
  given = part(tokens - kept, want)
  tokens = tokens - given
  local function until_there_are(number)
    if tokens >= number then return 0 end
    if observed and state.reset then return math.max(1, state.reset - now) end
    return math.ceil((number - tokens) / per_s * 1000)
  end
  wait_reserved_ms, wait_ms = until_there_are(1), until_there_are(kept + 1)
end

state.tokens, state.at = per_s and tokens or nil, now
local fields = {}
for name, value in pairs(state) do
  fields[#fields + 1] = name
  fields[#fields + 1] = string.format(value == math.floor(value) and '%d' or '%.6f', value)
end
call('DEL', key)
call('HSET', key, unpack(fields))
return {given_reserved, given, wait_reserved_ms, wait_ms, per_s and string.format('%.6f', per_s) or '', drawing, alive}
