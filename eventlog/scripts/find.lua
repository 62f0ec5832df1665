#!lua flags=allow-oom,no-writes
-- Entries of one stream by what their fields hold: a page of them, without the bodies.
-- ARGV: stream, first id to look at, most to look at, how many conditions, of each: field, 'is' or 'has', value; then
--   the fields to give
-- Returns: last id that was looked at ('' = none), whether that was all, what was found: id, bytes of its body, fields.
local stream, from, looks, conditions = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local first_given = 5 + 3 * conditions

local function fits(fields)
  for at = 5, first_given - 1, 3 do
    local value = fields[ARGV[at]] or ''
    if ARGV[at + 1] == 'is' then
      if value ~= ARGV[at + 2] then return false end
    elseif not string.find(value, ARGV[at + 2], 1, true) then
      return false
    end
  end
  return true
end

local found, scanned, looked, all = {}, '', 0, 0
while looked < looks do
  local size = math.min(100, looks - looked)
  local page = redis.call('XRANGE', stream, from, '+', 'COUNT', size)
  for _, entry in ipairs(page) do
    local fields = {}
    for i = 1, #entry[2], 2 do fields[entry[2][i]] = entry[2][i + 1] end
    if fits(fields) then
      local given = {entry[1], #(fields.b or '')}
      for at = first_given, #ARGV do given[#given + 1] = fields[ARGV[at]] or '' end
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
