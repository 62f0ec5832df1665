#!lua flags=allow-oom,no-writes
-- Ends of one entity's deliveries to one handler, from a part of its history; those of others are left out.
-- ARGV: prefix, handler, lane, id to begin at, 'on' or 'back', most entries to read, hash of the key (4 bytes), most
--   bytes to return
-- Returns: last id that was read ('' = none), whether that was all, then id of the entry, packed deliveries.
-- An entry is packed as `history.py` says: 8 bytes id, 4 bytes hash, 1 byte outcome, and from 128 on a text.
prefix = take()
local stream = prefix .. 'history:' .. take() .. ':' .. take()
local from, goes_on, looks, hash, most = take(), take() == 'on', take_number(), take(), take_number()
local HEAD = 13

local function of_entity(packed)
  local found, at = {}, 1
  while at + HEAD - 1 <= #packed do
    local size = HEAD
    if string.byte(packed, at + HEAD - 1) >= 128 then
      local a, b, c, d = string.byte(packed, at + HEAD, at + HEAD + 3)
      if not d then break end
      size = HEAD + 4 + ((a * 256 + b) * 256 + c) * 256 + d
    end
    if string.sub(packed, at + 8, at + 11) == hash then found[#found + 1] = string.sub(packed, at, at + size - 1) end
    at = at + size
  end
  return table.concat(found)
end

local answer, looked, bytes = {'', 0}, 0, 0
while looked < looks and bytes < most do
  local size = math.min(100, looks - looked)
  local page = goes_on and call('XRANGE', stream, from, '+', 'COUNT', size)
    or call('XREVRANGE', stream, from, '-', 'COUNT', size)
  for _, entry in ipairs(page) do
    answer[1], looked = entry[1], looked + 1
    for i = 1, #entry[2], 2 do
      local packed = entry[2][i] == 'd' and entry[2][i + 1] or ''
      if string.find(packed, hash, 1, true) then
        local own = of_entity(packed)
        if own ~= '' and bytes + #own <= most then
          answer[#answer + 1] = entry[1]
          answer[#answer + 1] = own
        end
        bytes = bytes + #own
      end
    end
  end
  if #page < size then
    answer[2] = 1
    break
  end
  from = '(' .. answer[1]
end
return answer
