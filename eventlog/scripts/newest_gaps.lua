#!lua flags=allow-oom,no-writes
-- The newest gaps that are recorded, one at least.
-- ARGV: prefix, name of a record that only older ones are to be returned of ('' = all), most bytes to return
-- Returns: how many are recorded, how many of them are older, then names and records of these, the newest first. A name
--   is the time when the gap began.
local gaps, before, most = take() .. 'gaps', tonumber(take()) or math.huge, take_number()
local names = call('HKEYS', gaps)
local older, bytes = {}, 0
for _, name in ipairs(names) do
  if (tonumber(name) or 0) < before then older[#older + 1] = name end
end
table.sort(older, function(a, b) return (tonumber(a) or 0) > (tonumber(b) or 0) end)
local answer = {#names, #older}
for _, name in ipairs(older) do
  local record = call('HGET', gaps, name)
  bytes = bytes + #record
  if bytes > most and #answer > 2 then break end
  answer[#answer + 1] = name
  answer[#answer + 1] = record
end
return answer
