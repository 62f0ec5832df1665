#!lua flags=allow-oom
-- Count the waiting events of some types after the cursor of one pair, one slice per call. It changes nothing.
-- ARGV: prefix, handler, lane, id to go on after ('' = the cursor), most entries to read, then the types ('*' = every
-- type that the handler does not want, apart from internal ones)
-- Returns: the id to go on after ('' = all is read), then type and number of those that were found.
prefix = take()
local handler, lane, pos, most = take(), take(), take(), take_number()
local asked = {}
while has_more() do asked[take()] = true end
local cur, text = call('HGET', prefix .. 'cur', handler .. '|' .. lane), call('HGET', prefix .. 'wants', handler)
if not cur or not text then return {''} end
if pos == '' or later(cur, pos) then pos = cur end
local wants, ahead = wanted_set(text), prefix .. 'ahead:' .. handler .. ':' .. lane

local function is_asked(type_name)
  if asked[type_name] then return true end
  return asked['*'] and not is_internal(type_name) and not is_wanted(wants, type_name)
end
local counts, looked, ended = {}, 0, false
while looked < most and not ended do
  local size = math.min(100, most - looked)
  local page = call('XRANGE', prefix .. 'events:' .. lane, '(' .. pos, '+', 'COUNT', size)
  for _, entry in ipairs(page) do
    pos = entry[1]
    local fields = entry[2]
    for i = 1, #fields, 2 do
      if fields[i] == 't' and is_asked(fields[i + 1]) and call('SISMEMBER', ahead, pos) == 0 then
        counts[fields[i + 1]] = (counts[fields[i + 1]] or 0) + 1
      end
    end
  end
  looked = looked + #page
  ended = #page < size
end
local found = {ended and '' or pos}
for type_name, number in pairs(counts) do
  found[#found + 1] = type_name
  found[#found + 1] = number
end
return found
