#!lua flags=allow-oom
-- One step of a drain: settle what is done, renew the lease, read on, or fall asleep. Applied once per seq; asked
-- again with the same seq it changes nothing and reads again.
-- ARGV: prefix, handler, lane, queue, token, seq, ttl (ms), mode (work, sleep, release, leave), new cur ('' = as it is),
--   read after, count, max bytes, then six lists, each led by its length:
--   puts (id, due ms or '', record), dels (id), dead (id, type, key, reason, trace, record), stats (field, by),
--   ahead (id: settled although the cursor is not there yet), passed (id: the cursor is there now); at last one
--   entry of the history ('' = nothing was settled)
local prefix, handler, lane, queue = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local token, seq, ttl_ms, mode, new_cur = ARGV[5], ARGV[6], tonumber(ARGV[7]), ARGV[8], ARGV[9]
local after, count, max_bytes = ARGV[10], tonumber(ARGV[11]), tonumber(ARGV[12])
local pair = handler .. '|' .. lane
local lease = prefix .. 'lease:' .. handler .. ':' .. lane
local open = prefix .. 'open:' .. handler .. ':' .. lane
local open_due = prefix .. 'opendue:' .. handler .. ':' .. lane
local ahead = prefix .. 'ahead:' .. handler .. ':' .. lane
local due = prefix .. 'due:' .. queue

local holder = redis.call('HMGET', lease, 'token', 'seq', 'gen')
if holder[1] ~= token then return {'lost'} end
local wants = redis.call('HGET', prefix .. 'wants', handler)
if not wants then return {'lost'} end

if holder[2] ~= seq then
  if tonumber(holder[2]) + 1 ~= tonumber(seq) then return {'lost'} end
  local at = 13
  if new_cur ~= '' then redis.call('HSET', prefix .. 'cur', pair, new_cur) end
  for _ = 1, tonumber(ARGV[at]) do
    redis.call('HSET', open, ARGV[at + 1], ARGV[at + 3])
    if ARGV[at + 2] == '' then
      redis.call('ZREM', open_due, ARGV[at + 1])
    else
      redis.call('ZADD', open_due, ARGV[at + 2], ARGV[at + 1])
    end
    at = at + 3
  end
  at = at + 1
  local put_end = at
  for _ = 1, tonumber(ARGV[put_end]) do
    redis.call('HDEL', open, ARGV[at + 1])
    redis.call('ZREM', open_due, ARGV[at + 1])
    at = at + 1
  end
  at = at + 1
  local del_end = at
  for _ = 1, tonumber(ARGV[del_end]) do
    redis.call('XADD', prefix .. 'dead:' .. handler, '*', 'v', '1', 'event', lane .. '-' .. ARGV[at + 1],
      't', ARGV[at + 2], 'k', ARGV[at + 3], 'reason', ARGV[at + 4],
      'trace', ARGV[at + 5], 'record', ARGV[at + 6])
    at = at + 6
  end
  at = at + 1
  local dead_end = at
  for _ = 1, tonumber(ARGV[dead_end]) do
    redis.call('HINCRBY', prefix .. 'stats:' .. handler, ARGV[at + 1], ARGV[at + 2])
    at = at + 2
  end
  at = at + 1
  for _, change in ipairs({'SADD', 'SREM'}) do
    local many = tonumber(ARGV[at])
    for i = 1, many do redis.call(change, ahead, ARGV[at + i]) end
    at = at + many + 1
  end
  if ARGV[at] ~= '' then
    redis.call('XADD', prefix .. 'history:' .. handler .. ':' .. lane, '*', 'd', ARGV[at])
  end
  redis.call('HSET', lease, 'seq', seq)
end

local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local paused = redis.call('HEXISTS', prefix .. 'paused', handler)
local changed = (redis.call('HGET', prefix .. 'gen', pair) or '0') ~= (holder[3] or '0') and 1 or 0
if mode == 'release' or mode == 'leave' then
  -- Released politely, nothing of (cur, runto] runs any more, so nobody has to suspect it. Who leaves has not read
  -- all of it: what died at work there is still a suspect, and what is settled there still counts as settled.
  if mode == 'release' then
    redis.call('HSET', prefix .. 'runto', pair, redis.call('HGET', prefix .. 'cur', pair))
  end
  if paused == 1 then redis.call('ZREM', due, pair) else redis.call('ZADD', due, now_ms, pair) end
  redis.call('DEL', lease)
  return {'released'}
end
redis.call('PEXPIRE', lease, ttl_ms)
redis.call('ZADD', due, now_ms + ttl_ms, pair)

local entries, scanned, exhausted = {}, after, 0
if count > 0 then
  local wanted, everything = {}, false
  for name in string.gmatch(wants, '[^\n]+') do
    wanted[name] = true
    if name == '*' then everything = true end
  end
  -- Small pages, since bodies can be large; not without end, since types nobody wants here can be many.
  local bytes, full, pages = 0, false, 0
  repeat
    local size = math.min(32, count - #entries)
    local page = redis.call('XRANGE', prefix .. 'events:' .. lane, '(' .. scanned, '+', 'COUNT', size)
    for _, entry in ipairs(page) do
      scanned = entry[1]
      local type_name, body
      local fields = entry[2]
      for i = 1, #fields, 2 do
        if fields[i] == 't' then type_name = fields[i + 1] elseif fields[i] == 'b' then body = fields[i + 1] end
      end
      if everything or wanted[type_name] then
        entries[#entries + 1] = entry
        bytes = bytes + #body
        if bytes >= max_bytes then full = true break end
      end
    end
    pages = pages + 1
    if not full and #page < size then exhausted = 1 end
  until full or exhausted == 1 or #entries >= count or pages >= 32
  -- It only grows: a takeover reads again what was handed out, and what it has not reached yet stays handed out.
  if #entries > 0 and later(scanned, redis.call('HGET', prefix .. 'runto', pair) or '0-0') then
    redis.call('HSET', prefix .. 'runto', pair, scanned)
  end
end

if mode == 'sleep' and exhausted == 1 and #entries == 0 and paused + changed == 0 then
  local head = redis.call('ZRANGE', open_due, 0, 0, 'WITHSCORES')
  if not head[1] or tonumber(head[2]) > now_ms then
    redis.call('HSET', prefix .. 'cur', pair, scanned)
    redis.call('HSET', prefix .. 'runto', pair, scanned)
    if head[1] then redis.call('ZADD', due, head[2], pair) else redis.call('ZREM', due, pair) end
    redis.call('DEL', lease)
    return {'asleep'}
  end
end
return {'ok', scanned, exhausted, entries, redis.call('HGET', prefix .. 'newest', handler) or '', paused, changed}
