#!lua
-- Append a batch: one answer per element, in order, each element on its own feet.
-- Per element: look whether it was seen -> XADD -> remember it as seen. In that order: a script that fails
-- half-way is not rolled back, and "seen" without an event would be a loss.
-- ARGV: prefix, duplicate window (hours), wake throttle (ms), then 12 values per element:
--   kind (e event, q quarantine), lane, type or reason, key, body, received_at_ms, key id, mark,
--   digest ('' = do not look), mode (drop, mark), traceparent, nonce (of one that may be appended again; '' = none)
local prefix, window_hours, throttle_ms = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local first, stride = 4, 12
if redis.call('EXISTS', prefix .. 'full') == 1 then
  local refused = {}
  for _ = first, #ARGV, stride do refused[#refused + 1] = '!FULL' end
  return {refused, {}}
end
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)

-- The window is cut into at most seven sets, so that a look costs seven calls a batch however large it is.
local bucket_hours = math.max(1, math.ceil(window_hours / 6))
local bucket = math.floor(time[1] / 3600 / bucket_hours)
local function seen_key(number)
  return prefix .. 'seen:' .. string.format('%d', number * bucket_hours)
end

local digests = {}
for at = first, #ARGV, stride do
  local digest, nonce = ARGV[at + 8], ARGV[at + 11]
  if digest ~= '' then digests[#digests + 1] = digest end
  if nonce ~= '' then digests[#digests + 1] = nonce end
end
local seen = {}
if #digests > 0 and window_hours > 0 then
  for back = 0, math.ceil(window_hours / bucket_hours) do
    local hits = redis.call('SMISMEMBER', seen_key(bucket - back), unpack(digests))
    for i, hit in ipairs(hits) do
      if hit == 1 then seen[digests[i]] = true end
    end
  end
end

local answers, counts, touched, remembered = {}, {}, {}, false
local function count(name) counts[name] = (counts[name] or 0) + 1 end

for at = first, #ARGV, stride do
  local kind, lane, name = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local body, received, key_id = ARGV[at + 4], ARGV[at + 5], ARGV[at + 6]
  local mark, digest, mode, nonce = ARGV[at + 7], ARGV[at + 8], ARGV[at + 9], ARGV[at + 11]
  local answer
  if kind == 'q' then
    local id = redis.pcall('XADD', prefix .. 'quarantine', '*',
      'v', '1', 'reason', name, 'b', body, 'r', received, 's', key_id)
    if type(id) == 'table' then
      answer = '!' .. (id.err or 'refused')
    else
      answer = 'q' .. id
      count('quarantined')
    end
  elseif (mode == 'drop' and seen[digest]) or seen[nonce] then
    answer = '='
    count('duplicates')
  else
    if seen[digest] and not string.find(mark, 'maybe_repeat', 1, true) then
      mark = mark == '' and 'maybe_repeat' or mark .. ',maybe_repeat'
    end
    local fields = {'v', '1', 't', name, 'k', ARGV[at + 3], 'b', body, 'r', received, 's', key_id, 'm', mark}
    if ARGV[at + 10] ~= '' then
      fields[#fields + 1] = 'tp'
      fields[#fields + 1] = ARGV[at + 10]
    end
    local id = redis.pcall('XADD', prefix .. 'events:' .. lane, '*', unpack(fields))
    if type(id) == 'table' then
      answer = '!' .. (id.err or 'refused')
    else
      answer = id
      if digest ~= '' and window_hours > 0 then
        redis.call('SADD', seen_key(bucket), digest)
        seen[digest] = true
        if nonce ~= '' then
          redis.call('SADD', seen_key(bucket), nonce)
          seen[nonce] = true
        end
        remembered = true
      end
      count('accepted')
      count('accepted:' .. name)
      touched[lane] = touched[lane] or {}
      touched[lane][name] = true
    end
  end
  answers[#answers + 1] = answer
end
if remembered then
  redis.call('EXPIRE', seen_key(bucket), (window_hours + bucket_hours) * 3600)
end
for name, by in pairs(counts) do
  redis.call('HINCRBY', prefix .. 'counts', name, by)
end

-- Whoever wants one of these types becomes due on that lane. A pair with a drain on it needs nothing: its next
-- step reads the event, or falls asleep in a script that looks again.
local routes, woken = {}, {}
local function routes_of(name)
  if routes[name] == nil then
    routes[name] = redis.call('HGET', prefix .. 'routes', name) or ''
  end
  return routes[name]
end
local done, paused = {}, {}
for _, name in ipairs(redis.call('HKEYS', prefix .. 'paused')) do paused[name] = true end
for lane, names in pairs(touched) do
  names['*'] = true
  for name in pairs(names) do
    for queue, handler in string.gmatch(routes_of(name), '([^\t\n]+)\t([^\t\n]+)') do
      local pair = handler .. '|' .. lane
      if not done[pair] and not paused[handler] then
        done[pair] = true
        if redis.call('EXISTS', prefix .. 'lease:' .. handler .. ':' .. lane) == 0
            and redis.call('ZADD', prefix .. 'due:' .. queue, 'LT', 'CH', now_ms, pair) == 1 then
          woken[queue] = true
        end
      end
    end
  end
end
local wake = {}
for queue in pairs(woken) do
  if redis.call('SET', prefix .. 'wake:' .. queue, '1', 'NX', 'PX', throttle_ms) then
    wake[#wake + 1] = queue
  end
end
return {answers, wake}
