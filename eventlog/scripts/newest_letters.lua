#!lua flags=allow-oom,no-writes
-- Dead letters of one entity at one handler from the newest on, without the bodies.
-- ARGV: prefix, handler, key, most to read, most to return
-- Returns: whether that was all, then per letter its id, the id of its event, type, reason.
prefix = take()
local dead, key, looks, most = prefix .. 'dead:' .. take(), take(), take_number(), take_number()
local answer, high, looked, found = {0}, '+', 0, 0
while looked < looks and found < most do
  -- Few at once: each may have a body of some MiB.
  local size = math.min(20, looks - looked)
  local page = call('XREVRANGE', dead, high, '-', 'COUNT', size)
  for _, entry in ipairs(page) do
    local fields = {}
    for i = 1, #entry[2], 2 do fields[entry[2][i]] = entry[2][i + 1] end
    high, looked = '(' .. entry[1], looked + 1
    if fields.k == key and found < most then
      found = found + 1
      answer[#answer + 1] = entry[1]
      for _, name in ipairs({'event', 't', 'reason'}) do answer[#answer + 1] = string.sub(fields[name] or '', 1, 300) end
    end
  end
  if #page < size then
    answer[1] = 1
    break
  end
end
return answer
