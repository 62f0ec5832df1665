#!lua flags=allow-oom,no-writes
-- A page of the entries of one stream whose fields meet all conditions, without the bodies.
-- ARGV: stream, first id to read, most to read, most to return, number of conditions, for each: field, 'is' or 'has',
--   value; then the fields to return; 'sha1(b)' is the fingerprint of the body, 'head(record)' an open record without it
-- Returns: last id that was read ('' = none), whether that was all, what was found: id, bytes of its body, fields.
local stream, from, looks, most, conditions = take(), take(), take_number(), take_number(), {}
for i = 1, take_number() do conditions[i] = take(3) end
local returned = take(#ARGV - taken)

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

local function size_of(fields) return #(fields.b or fields.record or '') end

local function field_of(fields, name)
  if name == 'sha1(b)' then return redis.sha1hex(fields.b or '') end
  if name == 'head(record)' then return string.match(fields.record or '', '^[^\n]*\n') end
  return fields[name]
end

local MOST_BYTES = 16 * 1024 * 1024
local found, scanned, looked, all, bytes = {}, '', 0, 0, 0
while looked < looks and #found < most and bytes < MOST_BYTES do
  local size = math.min(20, looks - looked) -- few at once: each may have a body of some MiB
  if #conditions == 0 then size = math.min(size, most - #found) end -- each has a body
  local page = call('XRANGE', stream, from, '+', 'COUNT', size)
  for _, entry in ipairs(page) do
    local fields = {}
    for i = 1, #entry[2], 2 do fields[entry[2][i]] = entry[2][i + 1] end
    scanned, looked, bytes = entry[1], looked + 1, bytes + size_of(fields)
    if fits(fields) then
      local given = {entry[1], size_of(fields)}
      for _, name in ipairs(returned) do given[#given + 1] = field_of(fields, name) or '' end
      found[#found + 1] = given
      if #found == most then break end
    end
  end
  if #page < size and #found < most then
    all = 1
    break
  end
  from = '(' .. scanned
end
return {scanned, all, found}
