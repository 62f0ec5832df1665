#!lua flags=allow-oom,no-writes
-- Events of one lane from the newest on whose fields meet all conditions, without the bodies.
-- ARGV: prefix, lane, highest id to read, lowest id to read, most to read, most to return; a handler ('' = none), the
--   state that an event must have there ('' = any), how many types it wants, the types; number of conditions, for each:
--   field, value; then the fields to return
-- Returns: last id that was read ('' = none), whether that was all, how many were read, what was found: id, bytes of
--   its body, its state at the handler, fields.
prefix = take()
local lane, high, low, looks, most = take(), take(), take(), take_number(), take_number()
local handler, wanted_state, wanted_types, conditions = take(), take(), {}, {}
for _ = 1, take_number() do wanted_types[take()] = true end
for i = 1, take_number() do conditions[i] = take(2) end
local returned = take(#ARGV - taken)

local pair = handler .. ':' .. lane
local cursor = call('HGET', prefix .. 'cur', handler .. '|' .. lane) or '0-0'

local function fits(fields)
  for _, condition in ipairs(conditions) do
    if (fields[condition[1]] or '') ~= condition[2] then return false end
  end
  return true
end

-- The state of its open record, else 'not-wanted', 'waiting' or 'settled'.
local function state_at_handler(id, type_name)
  local record = call('HGET', prefix .. 'open:' .. pair, id)
  if record then return string.match(record, '^{"v":%d+,"state":"(%a+)"') or 'open' end
  if not is_wanted(wanted_types, type_name) then return 'not-wanted' end
  if later(id, cursor) and call('SISMEMBER', prefix .. 'ahead:' .. pair, id) == 0 then return 'waiting' end
  return 'settled'
end

if is_before_all(prefix .. 'events:' .. lane, high) then return {'', 1, 0, {}} end
local found, scanned, looked, all = {}, '', 0, 0
while looked < looks and #found < most do
  -- Few at once: each may have a body of some MiB.
  local size = math.min(50, looks - looked)
  local page = call('XREVRANGE', prefix .. 'events:' .. lane, high, low, 'COUNT', size)
  for _, entry in ipairs(page) do
    local fields = {}
    for i = 1, #entry[2], 2 do fields[entry[2][i]] = entry[2][i + 1] end
    scanned, looked = entry[1], looked + 1
    if fits(fields) then
      local state = handler == '' and '' or state_at_handler(entry[1], fields.t or '')
      if wanted_state == '' or state == wanted_state then
        local given = {entry[1], #(fields.b or ''), state}
        for _, name in ipairs(returned) do given[#given + 1] = fields[name] or '' end
        found[#found + 1] = given
        if #found == most then break end
      end
    end
  end
  if #page < size and #found < most then
    all = 1
    break
  end
  high = '(' .. scanned
end
return {scanned, all, looked, found}
