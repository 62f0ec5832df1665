#!lua flags=allow-oom
-- Note the totals of this minute, unless they are noted, and forget the minutes that are too old.
-- ARGV: prefix, minutes to keep
prefix = take()
local kept, now = take_number(), now_ms()
local minutes, minute = prefix .. 'minutes', math.floor(now / 60000)
local row = {string.format('%d', now)}
for _, total in ipairs({'accepted', 'duplicates', 'quarantined'}) do
  row[#row + 1] = call('HGET', prefix .. 'counts', total) or '0'
end
if call('HSETNX', minutes, string.format('%d', minute), table.concat(row, ' ')) == 0 then return end
for _, field in ipairs(call('HKEYS', minutes)) do
  -- A minute from the future is one from before the clock of Redis went back.
  if math.abs(minute - tonumber(field)) > kept then call('HDEL', minutes, field) end
end
