#!lua flags=allow-oom,no-writes
-- A page of the kept events of one lane, selected by time, types and entity.
-- ARGV: prefix, lane, first id to read, last id, most to read, most to return, most bytes of bodies to return (0 =
--   only id and type of each event), key ('' = any), types ('*' = any but
--   internal ones)
-- Returns: last id that was read ('' = none), whether that was all, what was found.
prefix = take()
local lane, from, to = take(), take(), take()
local looks, gives, max_bytes, key = take_number(), take_number(), take_number(), take()
local wanted = {}
while has_more() do wanted[take()] = true end
local found, scanned, bytes, looked, all = {}, '', 0, 0, 0
while looked < looks and #found < gives and (max_bytes == 0 or bytes < max_bytes) do
  local size = max_bytes == 0 and 128 or 32
  local page = call('XRANGE', prefix .. 'events:' .. lane, from, to, 'COUNT', size)
  for _, entry in ipairs(page) do
    if #found >= gives or (max_bytes > 0 and bytes >= max_bytes) then return {scanned, 0, found} end
    local fields = {}
    for i = 1, #entry[2], 2 do fields[entry[2][i]] = entry[2][i + 1] end
    scanned, looked = entry[1], looked + 1
    if is_wanted(wanted, fields.t) and (key == '' or key == fields.k) then
      if max_bytes == 0 then
        found[#found + 1] = {entry[1], fields.t or ''}
      else
        found[#found + 1] = entry
        bytes = bytes + #(fields.b or '')
      end
    end
  end
  if #page < size then
    all = 1
    break
  end
  from = '(' .. scanned
end
return {scanned, all, found}
