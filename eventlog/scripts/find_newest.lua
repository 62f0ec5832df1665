#!lua flags=allow-oom,no-writes
-- Entries of one stream from the newest on whose fields meet all conditions, without the bodies.
-- ARGV: stream, highest id to read, lowest id to read, most to read, most to return, number of conditions, for each:
--   field, 'is' or 'has', value; then the fields to return
-- Returns: last id that was read ('' = none), whether that was all, how many were read, what was found: id, bytes of
--   its body, fields.
local stream, high, low, looks, most, conditions = take(), take(), take(), take_number(), take_number(), {}
for i = 1, take_number() do conditions[i] = take(3) end
local returned = take(#ARGV - 6 - 3 * #conditions)

local function fits(fields)
  for _, condition in ipairs(conditions) do
    local value = fields[condition[1]] or ''
    if condition[2] == 'is' then
      if value ~= condition[3] then return false end
    elseif not string.find(value, condition[3], 1, true) then
      return false
    end
  end
  return true
end

local found, scanned, looked, all = {}, '', 0, 0
while looked < looks and #found < most do
  -- Few at once: each may have a body of some MiB.
  local size = math.min(50, looks - looked)
  local page = call('XREVRANGE', stream, high, low, 'COUNT', size)
  for _, entry in ipairs(page) do
    local fields = {}
    for i = 1, #entry[2], 2 do fields[entry[2][i]] = entry[2][i + 1] end
    scanned, looked = entry[1], looked + 1
    if fits(fields) then
      local given = {entry[1], #(fields.b or '')}
      for _, name in ipairs(returned) do given[#given + 1] = fields[name] or '' end
      found[#found + 1] = given
      if #found == most then break end
    end
  end
  if #page < size and #found < most then
    all = 1
    break
  end
  high = '(' .. scanned
end
return {scanned, all, looked, found}
