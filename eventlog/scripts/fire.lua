#!lua flags=allow-oom
-- Move timers that are due into their lanes, also on a full log. Their place in the order is when they are moved. The
-- record of a timer stays until its event is settled, so that it can be cancelled or replaced until then.
-- A handler of which no version wants timers keeps its timers until one does.
-- ARGV: prefix, how many to move, whether this is the first call of a round ('1' or '0')
-- Returns: how many were moved, whether it is to be called again (1 or 0).
local WAITS_MS = 5000 -- until it is checked again whether timers are wanted
prefix = take()
local most, is_first, now, moved, paused = take_number(), take() == '1', now_ms(), 0, paused_handlers()

-- The clock of Redis went back: no timer waits for longer than it was to. One pair per call, since it reads all of it.
local function bound_waits(pair)
  local name = string.gsub(pair, '|(%d+)$', ':%1')
  local records, due_at = prefix .. 'timers:' .. name, prefix .. 'timersdue:' .. name
  for _, key in ipairs(call('ZRANGEBYSCORE', due_at, '(' .. now, '+inf')) do
    local record, next_ms, changed = read_timers(call('HGET', records, key)), nil, false
    for _, timer in pairs(record.t) do
      if timer[3] == '' then
        if timer[1] > now + timer[6] then timer[1], changed = now + timer[6], true end
        if not next_ms or timer[1] < next_ms then next_ms = timer[1] end
      end
    end
    if changed then
      call('HSET', records, key, cjson.encode(record))
      call('ZADD', due_at, next_ms, key)
    end
  end
  local head = call('ZRANGE', due_at, 0, 0, 'WITHSCORES')
  if head[1] then call('ZADD', prefix .. 'timers', head[2], pair) end
end
local swept_ms = count_of(call('HGET', prefix .. 'tenant', 'swept'))
if is_first and swept_ms > now + 1000 then
  for _, pair in ipairs(call('ZRANGE', prefix .. 'timers', 0, -1)) do call('SADD', prefix .. 'timersback', pair) end
end
local back = call('SMEMBERS', prefix .. 'timersback')[1]
if back then
  call('SREM', prefix .. 'timersback', back)
  bound_waits(back)
end

-- Returns the entries of an entity that are due, the first to fall due first, and when the next one is.
local function due_of(record)
  local due, next_ms = {}, nil
  for name, timer in pairs(record.t) do
    if timer[3] == '' then
      if timer[1] <= now then due[#due + 1] = {name = name, timer = timer}
      elseif not next_ms or timer[1] < next_ms then next_ms = timer[1] end
    end
  end
  table.sort(due, function(a, b)
    if a.timer[1] ~= b.timer[1] then return a.timer[1] < b.timer[1] end
    return a.name < b.name
  end)
  return due, next_ms
end

for _, pair in ipairs(call('ZRANGEBYSCORE', prefix .. 'timers', '-inf', now, 'LIMIT', 0, most)) do
  if moved >= most then break end
  local handler, lane = pair_parts(pair)
  if not handler then
    call('ZREM', prefix .. 'timers', pair) -- no pair: another client wrote it
    handler, lane = '', ''
  end
  local records = prefix .. 'timers:' .. handler .. ':' .. lane
  local due_at = prefix .. 'timersdue:' .. handler .. ':' .. lane
  local type_name = TIMER .. handler
  local route = call('HGET', prefix .. 'routes', type_name)
  if route then
    for _, key in ipairs(call('ZRANGEBYSCORE', due_at, '-inf', now, 'LIMIT', 0, most - moved)) do
      local record = read_timers(call('HGET', records, key))
      local due, next_ms = due_of(record)
      for _, found in ipairs(due) do
        local timer = found.timer
        local body = cjson.encode({notification = type_name, name = found.name, due = timer[1],
          generation = timer[2], setBy = timer[4], key = timer[7] and key or nil})
        body = string.sub(body, 1, -2) .. ',"data":' .. (timer[5] ~= '' and timer[5] or 'null') .. '}'
        timer[3] = lane .. '-' .. put_internal(lane, type_name, timer[7] or key, body, timer[1])
        moved = moved + 1
      end
      if #due > 0 then call('HSET', records, key, cjson.encode(record)) end
      if next_ms then call('ZADD', due_at, next_ms, key) else call('ZREM', due_at, key) end
    end
    if not paused[handler] then
      for queue, name in each_route(route) do mark_due(queue, name, lane, now) end
    end
  end
  local head = call('ZRANGE', due_at, 0, 0, 'WITHSCORES')
  if not head[1] then call('ZREM', prefix .. 'timers', pair)
  else call('ZADD', prefix .. 'timers', route and head[2] or now + WAITS_MS, pair) end
end
return {moved, (back or moved >= most) and 1 or 0}
