#!lua flags=allow-oom,no-writes
-- A page of the open records at one (handler, lane): the oldest before an event that has its key.
-- ARGV: prefix, handler, lane, cursor (0 to begin), how many to read, id of the event, its key, the handler's own key of
--   it ('' = none)
-- Returns: next cursor (0 = that was all), id of the oldest ('' = none), when it is due (ms, '' = no time)
prefix = take()
local open = prefix .. 'open:' .. take() .. ':' .. take()
local cursor, reads, event, key, own_key = take(), take(), take(), take(), take()
local page, oldest, due = call('HSCAN', open, cursor, 'COUNT', reads), '', ''
local first_ms, first_number = parts(event) -- the oldest so far
for i = 1, #page[2], 2 do
  local ms, number = parts(page[2][i])
  if ms < first_ms or (ms == first_ms and number < first_number) then
    local fields = read_record(string.match(page[2][i + 1], '^[^\n]*\n'))
    if fields and fields.key == key and (fields.own_key or '') == own_key then
      oldest, first_ms, first_number = page[2][i], ms, number
      due = type(fields.due) == 'number' and string.format('%d', fields.due) or ''
    end
  end
end
return {page[1], oldest, due}
