#!lua flags=allow-oom,no-writes
-- What one (handler, lane) has open of one entity: a page of it, without the bodies.
-- ARGV: prefix, handler, lane, cursor (0 to begin), how many to look at, key
-- Returns: cursor to go on with (0 = that was all), then id, record without body, bytes of the body.
local open = ARGV[1] .. 'open:' .. ARGV[2] .. ':' .. ARGV[3]
local page = redis.call('HSCAN', open, ARGV[4], 'COUNT', ARGV[5])
local found = {page[1]}
for i = 1, #page[2], 2 do
  local record = page[2][i + 1]
  local head = string.match(record, '^[^\n]*\n') or ''
  local read, fields = pcall(cjson.decode, head)
  if read and fields.key == ARGV[6] then
    found[#found + 1] = page[2][i]
    found[#found + 1] = head
    found[#found + 1] = #record - #head
  end
end
return found
