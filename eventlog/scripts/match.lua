#!lua flags=allow-oom,no-writes
-- Kept events of one lane in a span of time, of some types or one entity: a page of them.
-- ARGV: prefix, lane, first id to look at, last id, most to look at, most to give, most bytes of bodies to give (0 = of
--   each event only id and type), key ('' = any), types ('*' = any)
-- Returns: last id that was looked at ('' = none), whether that was all, what was found.
local prefix, lane, from, to = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local looks, gives, max_bytes, key = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8]
local wanted = {}
for i = 9, #ARGV do wanted[ARGV[i]] = true end
local found, scanned, bytes, looked, all = {}, '', 0, 0, 0
while looked < looks and #found < gives and (max_bytes == 0 or bytes < max_bytes) do
  local size = max_bytes == 0 and 128 or 32
  local page = redis.call('XRANGE', prefix .. 'events:' .. lane, from, to, 'COUNT', size)
  for _, entry in ipairs(page) do
    if #found >= gives or (max_bytes > 0 and bytes >= max_bytes) then return {scanned, 0, found} end
    local fields = {}
    for i = 1, #entry[2], 2 do fields[entry[2][i]] = entry[2][i + 1] end
    scanned, looked = entry[1], looked + 1
    if (wanted['*'] or wanted[fields.t]) and (key == '' or key == fields.k) then
      if max_bytes == 0 then
        found[#found + 1] = {entry[1], fields.t}
      else
        found[#found + 1] = entry
        bytes = bytes + #fields.b
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
