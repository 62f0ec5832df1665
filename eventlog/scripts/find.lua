#!lua flags=allow-oom,no-writes
-- A page of the entries of one stream whose fields meet all conditions, without the bodies.
-- ARGV: stream, first id to read, most to read, number of conditions, for each: field, 'is' or 'has', value; then the
--   fields to return; 'sha1(b)' is the fingerprint of the body
-- Returns: last id that was read ('' = none), whether that was all, what was found: id, bytes of its body, fields.
local stream, from, looks, conditions = take(), take(), take_number(), {}
for i = 1, take_number() do conditions[i] = take(3) end
local returned = take(#ARGV - 4 - 3 * #conditions)

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
while looked < looks do
  local size = math.min(100, looks - looked)
  local page = call('XRANGE', stream, from, '+', 'COUNT', size)
  for _, entry in ipairs(page) do
    local fields = {}
    for i = 1, #entry[2], 2 do fields[entry[2][i]] = entry[2][i + 1] end
    if fits(fields) then
      local given = {entry[1], #(fields.b or '')}
      for _, name in ipairs(returned) do
        given[#given + 1] = name == 'sha1(b)' and redis.sha1hex(fields.b or '') or fields[name] or ''
      end
      found[#found + 1] = given
    end
    scanned = entry[1]
  end
  looked = looked + #page
  if #page < size then
    all = 1
    break
  end
  from = '(' .. scanned
end
return {scanned, all, found}
