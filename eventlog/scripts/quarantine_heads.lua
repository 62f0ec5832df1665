#!lua flags=allow-oom,no-writes
-- Quarantined bodies from the newest on, without their bytes.
-- ARGV: prefix, highest id to read, lowest id to read, most to read, most to return (0 = they are only counted), the
--   reason ('' = any)
-- Returns: last id that was read ('' = none), whether that was all, how many were read, how many fit, what was found:
--   id, reason, time of arrival, key id, marks, encoding, size in bytes.
prefix = take()
local high, low, looks, most, reason = take(), take(), take_number(), take_number(), take()
local MOST_BYTES = 16 * 1024 * 1024
local scanned, all, looked, fitting, bytes, found = '', 0, 0, 0, 0, {}
local is_full = false
if is_before_all(prefix .. 'quarantine', high) then return {'', 1, 0, 0, {}} end
while looked < looks and bytes < MOST_BYTES and not is_full do
  local size = math.min(20, looks - looked) -- few at once: each has a body
  local page = call('XREVRANGE', prefix .. 'quarantine', high, low, 'COUNT', size)
  for _, entry in ipairs(page) do
    local fields = {}
    for i = 1, #entry[2], 2 do fields[entry[2][i]] = entry[2][i + 1] end
    scanned, looked, bytes = entry[1], looked + 1, bytes + #(fields.b or '')
    if reason == '' or fields.reason == reason then
      fitting = fitting + 1
      if most > 0 then
        local given = {entry[1]}
        for _, name in ipairs({'reason', 'r', 's', 'm', 'e'}) do
          given[#given + 1] = string.sub(fields[name] or '', 1, 400)
        end
        given[#given + 1] = #(fields.b or '')
        found[#found + 1] = given
        is_full = #found == most
        if is_full then break end
      end
    end
  end
  if #page < size and not is_full then
    all = 1
    break
  end
  high = '(' .. scanned
end
return {scanned, all, looked, fitting, found}
