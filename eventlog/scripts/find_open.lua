#!lua flags=allow-oom,no-writes
-- A page of the open records of one entity at one (handler, lane), without the bodies.
-- ARGV: prefix, handler, lane, cursor (0 to begin), how many to read, key, most bytes to return
-- Returns: next cursor (0 = that was all), then id, record without body, bytes of the body; the oldest of the page first,
--   as many as fit.
prefix = take()
local open = prefix .. 'open:' .. take() .. ':' .. take()
local cursor, reads, key, most = take(), take(), take(), take_number()
local page, found = call('HSCAN', open, cursor, 'COUNT', reads), {}
for i = 1, #page[2], 2 do
  local record = page[2][i + 1]
  local head = string.match(record, '^[^\n]*\n') or ''
  local fields = read_record(head)
  if fields and fields.key == key then found[#found + 1] = {page[2][i], head, #record - #head} end
end
table.sort(found, function(a, b) return later(b[1], a[1]) end)
local answer = {page[1]}
for _, one in ipairs(found) do
  most = most - #one[2]
  if most < 0 then break end
  for _, value in ipairs(one) do answer[#answer + 1] = value end
end
return answer
