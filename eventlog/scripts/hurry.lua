#!lua flags=allow-oom
-- End waits of one (handler, lane): these retries are due at once. What does not wait by now is left alone.
-- ARGV: prefix, handler, lane, then stream ids
-- Returns: per id, whether it waited; nothing if no such handler is registered.
prefix = take()
local handler, lane = take(), take()
local version = call('HGET', prefix .. 'newest', handler)
if not version then return false end
local open = prefix .. 'open:' .. handler .. ':' .. lane
local lease = prefix .. 'lease:' .. handler .. ':' .. lane

local answers, ended = {}, {}
while has_more() do
  local id = take()
  local record = call('HGET', open, id) or ''
  local head = string.match(record, '^{"v":%d+,"state":"retry",[^\n]*')
  -- In the text, since Lua would write an empty list as an object. No name holds the pattern: its quotes are escaped.
  local hurried, found = string.gsub(head or '', '"due":%d+', '"due":0', 1)
  if found == 1 then
    call('HSET', open, id, hurried .. string.sub(record, #head + 1))
    call('ZADD', prefix .. 'opendue:' .. handler .. ':' .. lane, 0, id)
    ended[#ended + 1] = id
  end
  answers[#answers + 1] = found
end
if #ended > 0 then
  call('HDEL', prefix .. 'held', handler .. '|' .. lane) -- it waited for the first of these
  -- A drain has its waits in memory. Its next step tells it of these (step.lua).
  if is_leased(handler, lane) then
    local before = call('HGET', lease, 'hurry')
    call('HSET', lease, 'hurry', (before and before .. ' ' or '') .. table.concat(ended, ' '))
  elseif call('HEXISTS', prefix .. 'paused', handler) == 0 then
    mark_due(queue_of(handler, version), handler, lane, now_ms())
  end
end
return answers
