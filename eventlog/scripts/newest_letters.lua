#!lua flags=allow-oom,no-writes
-- Dead letters of one entity or event at one handler from the newest on, without the bodies.
-- ARGV: prefix, handler, field that selects them ('k' = entity, 'event'), its value, highest id to read, most to read,
--   most to return
-- Returns: last id that was read ('' = none), whether that was all, then per letter its id, the id of its event, type,
--   key, reason.
prefix = take()
local dead, field, value, high = prefix .. 'dead:' .. take(), take(), take(), take()
local looks, most, answer, looked, found = take_number(), take_number(), {'', 0}, 0, 0
if is_before_all(dead, high) then return {'', 1} end
while looked < looks and found < most do
  -- Few at once: each may have a body of some MiB.
  local size = math.min(20, looks - looked)
  local page = call('XREVRANGE', dead, high, '-', 'COUNT', size)
  for _, entry in ipairs(page) do
    local fields = {}
    for i = 1, #entry[2], 2 do fields[entry[2][i]] = entry[2][i + 1] end
    answer[1], looked = entry[1], looked + 1
    if fields[field] == value then
      found = found + 1
      answer[#answer + 1] = entry[1]
      for _, name in ipairs({'event', 't', 'k', 'reason'}) do
        answer[#answer + 1] = string.sub(fields[name] or '', 1, 300)
      end
      if found == most then break end
    end
  end
  if #page < size then
    answer[2] = 1
    break
  end
  high = '(' .. answer[1]
end
return answer
