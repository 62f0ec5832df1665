#!lua
-- Append a batch: one answer per element, in order, independent of the others.
-- Per element: judge, XADD, remember, in this order: a script that fails half-way is not rolled back, and "seen"
-- without an event would be a loss.
-- ARGV: prefix, duplicate window (hours), wake throttle (ms), then 13 values per element:
--   kind (e event, q for the quarantine, r from the quarantine), lane (q: of the internal event about it), type or
--   reason, key (q: what a header said about the encoding), body, received_at_ms, key id, mark, digest ('' = none),
--   mode (drop, mark, again), traceparent (r: id in the quarantine), nonce ('' = none), hash of type and entity ('' =
--   it has no entity)
-- Answers: id = accepted, q<id> = quarantined, =<reason> = duplicate, gone = not in the quarantine any more, !<error> =
--   refused. What is read back leaves the quarantine once it is accepted or a duplicate.
-- Returns: the answers, queues to wake, and what Redis said of a key that it cannot use ('' = nothing).
prefix = take()
-- Events must not be refused, and not be appended twice, because another client spoiled a key that only counts or
-- remembers them. Such a key reads as if it was not there.
local fault, LISTS = '', {XRANGE = 1, SMEMBERS = 1, SMISMEMBER = 1, HGETALL = 1, HKEYS = 1, HMGET = 1}
local SPOILED = {'^WRONGTYPE', 'is not an integer', 'is not a float', 'would overflow'}
function call(command, ...)
  local reply = redis.pcall(command, ...)
  if type(reply) ~= 'table' or not reply.err then return reply end
  for _, words in ipairs(SPOILED) do
    if string.find(reply.err, words) then
      fault = command .. ' ' .. tostring(...) .. ': ' .. reply.err
      return LISTS[command] and {} or command ~= 'HGET' and 0
    end
  end
  local said = reply.err
  if string.find(said, "can't", 1, true) then -- Redis 7.0 names no command
    said = said .. ", permission to run the '" .. string.lower(command) .. "' command"
  end
  error({err = said})
end
local window_hours, throttle_ms = take_number(), take_number()
-- The elements are read twice and in the hot path, so by position and not by take().
local ARGV, first, stride = ARGV, taken + 1, 13
if call('EXISTS', prefix .. 'full') == 1 then
  local refused = {}
  for _ = first, #ARGV, stride do refused[#refused + 1] = '!FULL' end
  return {refused, {}}
end
local now = now_ms()
local now_s = math.floor(now / 1000)

-- The window has at most seven parts, so that checking a batch of any size costs seven calls.
local bucket_hours = math.max(1, math.ceil(window_hours / 6))
local bucket = math.floor(now_s / 3600 / bucket_hours)
local oldest = bucket - math.ceil(window_hours / bucket_hours)
local function part(name, number) return prefix .. name .. ':' .. string.format('%d', number * bucket_hours) end
-- Our own nonces are kept in sets of 240 s, so that most checks need one set.
local OWN_S, OWN_PART_S, PAIR_S = 120, 240, 120
local own_part = math.floor(now_s / OWN_PART_S)
local function own_key(number) return prefix .. 'own:' .. string.format('%d', number) end

local digests, nonces = {}, {}
for at = first, #ARGV, stride do
  local digest, nonce = ARGV[at + 8], ARGV[at + 11]
  if digest ~= '' then digests[#digests + 1] = digest end
  if nonce ~= '' then nonces[#nonces + 1] = nonce end
end
local seen, own = {}, {}
local function look(key, members, found)
  local hits = redis.pcall('SMISMEMBER', key, unpack(members)) -- not by call(): it copies the many arguments
  if hits.err then hits = call('SMISMEMBER', key, unpack(members)) end
  for i = 1, #hits do
    if hits[i] == 1 then found[members[i]] = true end
  end
end
if #digests > 0 and window_hours > 0 then
  for number = oldest, bucket do look(part('seen', number), digests, seen) end
end
if #nonces > 0 then
  look(own_key(own_part), nonces, own)
  if now_s - own_part * OWN_PART_S < OWN_S then look(own_key(own_part - 1), nonces, own) end
end

-- Value of a field in the newest part that has it. Only called for a body that was seen before.
local function newest(name, field)
  for number = bucket, oldest, -1 do
    local found = call('HGET', part(name, number), field)
    if found then return found end
  end
end

-- Type and entity -> digest of the event that was accepted last.
local last = {}
local function last_of(entity)
  if last[entity] == nil then last[entity] = newest('last', entity) or '' end
  return last[entity]
end

-- While two notification subscriptions of ours exist, accepted and paired copies of a body are counted per key:
-- digest -> key id -> {count, ms of the last copy, of the one before, ...}, without times older than PAIR_S.
local two_since = call('HGET', prefix .. 'subscription', 'two_since')
local copies_name = two_since and 'copies:' .. two_since
local copies, counted = {}, {}
local function copies_of(digest)
  if not copies[digest] then
    local packed = seen[digest] and newest(copies_name, digest)
    local is_packed, known = pcall(cmsgpack.unpack, packed or '')
    copies[digest] = packed and is_packed and type(known) == 'table' and known or {}
  end
  return copies[digest]
end
local function is_paired(digest, key_id, mode)
  local by_key = copies_of(digest)
  local n = (by_key[key_id] or {0})[1] + 1
  for other, found in pairs(by_key) do
    if other ~= key_id and found[1] >= n
        and (mode == 'drop' or (found[2 + found[1] - n] or 0) >= now - PAIR_S * 1000) then
      return true
    end
  end
  return false
end
local function count_copy(digest, key_id)
  local by_key = copies_of(digest)
  local found = by_key[key_id] or {0}
  found[1] = found[1] + 1
  table.insert(found, 2, now)
  while found[#found] < now - PAIR_S * 1000 do found[#found] = nil end
  by_key[key_id] = found
  if not counted[digest] then
    counted[digest] = true
    counted[#counted + 1] = digest
  end
end

-- Returns why an element is a duplicate, or else why it may be one.
local function judge(digest, mode, nonce, entity, key_id)
  if own[nonce] then return 'appended-before' end
  if mode == 'again' then return nil, 'appended-again' end
  if two_since and key_id ~= '' and is_paired(digest, key_id, mode) then
    count_copy(digest, key_id)
    return 'other-key'
  end
  if not seen[digest] then return nil end
  if mode == 'mark' then return nil, 'no-own-time' end
  if entity == '' or last_of(entity) == digest then return 'equal-body' end
  return nil, 'not-last'
end

-- Redis gives no id below the last one. So one entry that another client put into the far future (more than 13 digits)
-- takes all later ones there, and no reader of ours follows. All of them come back to the present, the given one last.
-- Where one cannot be copied, the lane stays as it was, and the next append tries again.
local LONGEST_MS = 13
local function is_far(id) return string.byte(id, LONGEST_MS + 1) ~= 45 and string.find(id, '^%d+-', LONGEST_MS + 1) ~= nil end
local function copy_back(old, stream, lane, id)
  local far, last, from = {}, '0-1', '-'
  repeat
    local page = call('XRANGE', old, from, '+', 'COUNT', 1000)
    for _, entry in ipairs(page) do
      if is_far(entry[1]) then
        far[#far + 1] = entry[2]
      else
        last = call('XADD', stream, entry[1], unpack(entry[2]))
      end
      from = '(' .. entry[1]
    end
  until #page < 1000
  for _, fields in ipairs(far) do id = call('XADD', stream, '*', unpack(fields)) end
  for _, name in ipairs(call('HKEYS', prefix .. 'newest')) do
    local pair = name .. '|' .. lane
    for _, place in ipairs({prefix .. 'cur', prefix .. 'runto'}) do
      if is_far(call('HGET', place, pair) or '') then call('HSET', place, pair, last) end
    end
  end
  return id
end
local function brought_back(stream, lane, id)
  local old = prefix .. 'far:' .. lane
  fault = 'XADD ' .. stream .. ': an entry of the far future'
  if call('EXISTS', old) == 1 then -- an earlier release failed half-way
    fault = fault .. '; ' .. old .. ' has events of the lane'
    return id
  end
  call('RENAME', stream, old) -- XSETID goes below no id that was deleted
  local is_done, found = pcall(copy_back, old, stream, lane, id)
  if is_done then
    call('DEL', old)
    return found
  end
  call('RENAME', old, stream)
  fault = fault .. ', and the lane cannot be copied: ' .. (type(found) == 'table' and found.err or tostring(found))
  return id
end
-- Returns the event's id, or an error of Redis.
local function add(stream, lane, ...)
  local id = redis.pcall('XADD', stream, '*', ...)
  if type(id) == 'table' and string.find(id.err or '', 'exhausted', 1, true) then -- no id follows the last one
    brought_back(stream, lane)
    id = redis.pcall('XADD', stream, '*', ...)
  end
  return type(id) ~= 'table' and is_far(id) and brought_back(stream, lane, id) or id
end

local answers, counts, touched, streams = {}, {}, {}, {}
local accepted, by_name = 0, {}
local new_seen, new_own, new_last = {}, {}, {}
local internal_wake = {} -- queues to wake for internal events
local function count(name) counts[name] = (counts[name] or 0) + 1 end
-- The answer to an element that Redis did not take.
local function refused(stream, reply)
  local said = reply.err or 'refused'
  if string.find(said, '^WRONGTYPE') then fault = 'XADD ' .. stream .. ': ' .. said end
  return '!' .. said
end

for at = first, #ARGV, stride do
  local kind, lane, name = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local body, received, key_id = ARGV[at + 4], ARGV[at + 5], ARGV[at + 6]
  local answer
  if kind == 'q' then
    local id = redis.pcall('XADD', prefix .. 'quarantine', '*',
      'v', '1', 'reason', name, 'b', body, 'r', received, 's', key_id, 'm', ARGV[at + 7], 'e', ARGV[at + 3])
    if type(id) == 'table' then
      answer = refused(prefix .. 'quarantine', id)
    else
      answer = 'q' .. id
      count('quarantined')
      local _, queues = append_internal(lane, 'receiver.quarantine.added', 'receiver:quarantine',
        cjson.encode({notification = 'receiver.quarantine.added', quarantineId = id, reason = name}))
      for _, queue in ipairs(queues or {}) do internal_wake[queue] = true end
    end
  elseif kind == 'r' and #call('XRANGE', prefix .. 'quarantine', ARGV[at + 10], ARGV[at + 10]) == 0 then
    answer = 'gone'
  else
    local digest, nonce, entity = ARGV[at + 8], ARGV[at + 11], ARGV[at + 12]
    local duplicate, repeated = judge(digest, ARGV[at + 9], nonce, entity, key_id)
    if duplicate then
      answer = '=' .. duplicate
      count('duplicates')
      count('duplicates:' .. duplicate)
    else
      local mark = ARGV[at + 7]
      if repeated then mark = (mark == '' and '' or mark .. ',') .. 'maybe_repeat,' .. repeated end
      local stream, key, id = streams[lane], ARGV[at + 3], nil
      local traceparent = kind == 'r' and '' or ARGV[at + 10]
      if not stream then
        stream = prefix .. 'events:' .. lane
        streams[lane] = stream
      end
      if traceparent == '' then
        id = add(stream, lane, 'v', '1', 't', name, 'k', key, 'b', body, 'r', received, 's', key_id, 'm', mark)
      else
        id = add(stream, lane,
          'v', '1', 't', name, 'k', key, 'b', body, 'r', received, 's', key_id, 'm', mark, 'tp', traceparent)
      end
      if type(id) == 'table' then
        answer = refused(stream, id)
      else
        answer = id
        if nonce ~= '' then
          own[nonce] = true
          new_own[#new_own + 1] = nonce
        end
        if digest ~= '' and window_hours > 0 then
          if two_since and key_id ~= '' then count_copy(digest, key_id) end
          seen[digest] = true
          new_seen[#new_seen + 1] = digest
          if entity ~= '' then
            last[entity] = digest
            new_last[#new_last + 1] = entity
            new_last[#new_last + 1] = digest
          end
        end
        accepted = accepted + 1
        if repeated == 'appended-again' then count('again') end
        if string.sub(ARGV[at + 7], 1, 13) == 'reconstructed' then count('reconstructed') end
        by_name[name] = (by_name[name] or 0) + 1
        touched[lane] = touched[lane] or {}
        touched[lane][name] = (touched[lane][name] or 0) + 1
      end
    end
  end
  if kind == 'r' and answer ~= 'gone' and string.sub(answer, 1, 1) ~= '!' then
    call('XDEL', prefix .. 'quarantine', ARGV[at + 10])
  end
  answers[#answers + 1] = answer
end

local window_s = (window_hours + bucket_hours) * 3600
local function remember(command, key, values, ttl_s)
  if #values > 0 then
    local reply = redis.pcall(command, key, unpack(values))
    if type(reply) == 'table' and reply.err then call(command, key, unpack(values)) end
    call('EXPIRE', key, ttl_s)
  end
end
remember('SADD', own_key(own_part), new_own, OWN_PART_S + OWN_S)
remember('HSET', part('last', bucket), new_last, window_s)
remember('SADD', part('seen', bucket), new_seen, window_s)
if two_since then
  local new_copies = {}
  for _, digest in ipairs(counted) do
    new_copies[#new_copies + 1] = digest
    new_copies[#new_copies + 1] = cmsgpack.pack(copies[digest])
  end
  remember('HSET', part(copies_name, bucket), new_copies, window_s)
end
if accepted > 0 then counts.accepted = accepted end
local all_counts = prefix .. 'counts'
for name, by in pairs(counts) do call('HINCRBY', all_counts, name, by) end
-- Senders choose the names of types, so only so many are counted by name, and those that a handler wants.
local MOST_NAMES, OTHERS = 1000, '(other)'
for name, by in pairs(by_name) do
  local is_new = call('HINCRBY', all_counts, 'accepted:' .. name, by) == by
  if is_new and call('HLEN', all_counts) > MOST_NAMES and call('HEXISTS', prefix .. 'routes', name) == 0 then
    call('HDEL', all_counts, 'accepted:' .. name)
    call('HINCRBY', all_counts, 'accepted:' .. OTHERS, by)
  end
end
-- One mark per lane and type, however many handlers want it: spread_fresh() makes the pairs due. A type that only
-- handlers of everything want is marked as theirs, so that marks are bounded. A queue is woken when a mark is new and
-- one of its handlers, neither paused nor held on that lane, wants the type.
local marks, wanting, paused, routes, held = {}, {}, paused_handlers(), {}, holds(now)
local queues = accepted > 0 and call('SMEMBERS', prefix .. 'queues') or {}
local all_start, any_held = not next(paused) and not next(held), next(held) ~= nil
local function serves(queue, name, lane)
  routes[name] = routes[name] or call('HGET', prefix .. 'routes', name) or ''
  local route, line = routes[name], queue .. '\t'
  if all_start then
    return string.sub(route, 1, #line) == line or string.find(route, '\n' .. line, 1, true) ~= nil
  end
  for of, handler in each_route(route) do
    if of == queue and not paused[handler] and not held_in(held, handler, lane) then return true end
  end
  return false
end
local wanted_by = {}
for lane, names in pairs(touched) do
  for name in pairs(names) do
    local known = any_held and lane .. '|' .. name or name -- a hold may be of one lane
    if not wanted_by[known] then
      wanted_by[known] = {}
      for _, queue in ipairs(queues) do
        if serves(queue, name, lane) or (not is_internal(name) and serves(queue, '*', lane)) then
          table.insert(wanted_by[known], queue)
        end
      end
    end
    if #wanted_by[known] > 0 then
      marks[#marks + 1] = lane .. '|' .. (routes[name] ~= '' and name or '*')
      for _, queue in ipairs(wanted_by[known]) do wanting[queue] = true end
    end
  end
end
local wake = {}
if #marks > 0 and call('SADD', prefix .. 'fresh', unpack(marks)) > 0 then
  for queue in pairs(wanting) do
    if call('SET', prefix .. 'wake:' .. queue, '1', 'NX', 'PX', throttle_ms) then wake[#wake + 1] = queue end
  end
end
for _, queue in ipairs(wake) do internal_wake[queue] = nil end
for queue in pairs(internal_wake) do wake[#wake + 1] = queue end
-- What was added, in two calls, since a batch touches many lanes and types. The entry without a type counts all of a
-- lane. The lag needs the types that handlers name; all others are one entry.
local fields, by_field = {}, {}
local function add(field, by)
  if not by_field[field] then fields[#fields + 1] = field end
  by_field[field] = (by_field[field] or 0) + by
end
for lane, names in pairs(touched) do
  for name, by in pairs(names) do
    add(lane .. '|' .. ((routes[name] or '') ~= '' and name or OTHERS), by)
    add(lane .. '|', by)
    if is_internal(name) then add(lane .. '|' .. INTERNAL, by) end
  end
end
if #fields > 0 then
  local values = {}
  for i, before in ipairs(call('HMGET', prefix .. 'added', unpack(fields))) do
    values[2 * i - 1], values[2 * i] = fields[i], (tonumber(before or 0) or 0) + by_field[fields[i]]
  end
  if #values > 0 then call('HSET', prefix .. 'added', unpack(values)) end
end
return {answers, wake, fault}
