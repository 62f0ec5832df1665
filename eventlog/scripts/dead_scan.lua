#!lua flags=allow-oom,no-writes
-- Dead letters of one handler from the newest on, grouped by reason and place in the code. No body leaves Redis.
-- ARGV: prefix, handler, highest id to read, lowest id to read, most to read, most groups, samples of each group, most
--   ids ('0' = groups, else ids alone), then what a letter must have ('' = any): reason, place, type, key
-- Returns: last id that was read ('' = none), whether that was all, how many were read, how many fit, then groups
--   (reason, place, count, newest id, oldest id, samples: id, event, type, key) or ids (id, event).
prefix = take()
local handler, high, low, looks = take(), take(), take(), take_number()
local most_groups, most_samples, most_ids = take_number(), take_number(), take_number()
local wanted_reason, wanted_place, wanted_type, wanted_key = take(), take(), take(), take()
local TEXT_BYTES, PLACE_BYTES, MOST_BYTES = 200, 160, 16 * 1024 * 1024

-- Cuts leave no part of a character.
local function head(text)
  if #text <= TEXT_BYTES then return text end
  return (string.gsub(string.sub(text, 1, TEXT_BYTES), '[\192-\255][\128-\191]*$', ''))
end
local function tail(text)
  if #text <= PLACE_BYTES then return text end
  return (string.gsub(string.sub(text, -PLACE_BYTES), '^[\128-\191]+', ''))
end

-- The innermost line of code that is in no installed package, else the innermost one; '-' without a trace. Many letters
-- have the same trace.
local places = {}
local function place_of(trace)
  if places[trace] then return places[trace] end
  local own, innermost
  for line in string.gmatch(trace, '\n([^\n]+)') do
    innermost = line
    if not string.find(line, '/site-packages/', 1, true) and not string.find(line, '/lib/python', 1, true) then
      own = line
    end
  end
  places[trace] = tail(own or innermost or '-')
  return places[trace]
end

local scanned, all, looked, fitting, bytes = '', 0, 0, 0, 0
local groups, by_name, ids, rest = {}, {}, {}, nil
if is_before_all(prefix .. 'dead:' .. handler, high) then return {'', 1, 0, 0, {}} end
while looked < looks and bytes < MOST_BYTES and (most_ids == 0 or #ids < most_ids) do
  local size = math.min(20, looks - looked) -- few at once: each has a body
  local page = call('XREVRANGE', prefix .. 'dead:' .. handler, high, low, 'COUNT', size)
  for _, entry in ipairs(page) do
    local id, fields = entry[1], {}
    for i = 1, #entry[2], 2 do fields[entry[2][i]] = entry[2][i + 1] end
    scanned, looked, bytes = id, looked + 1, bytes + #(fields.record or '')
    local reason, place = head(fields.reason or ''), place_of(fields.trace or '')
    if (wanted_reason == '' or reason == wanted_reason) and (wanted_place == '' or place == wanted_place)
      and (wanted_type == '' or fields.t == wanted_type) and (wanted_key == '' or fields.k == wanted_key) then
      fitting = fitting + 1
      local event = head(fields.event or '')
      if most_ids > 0 then
        ids[#ids + 1] = {id, event}
        if #ids == most_ids then break end
      else
        local group = by_name[reason .. '\n' .. place]
        if not group and #groups < most_groups then
          group = {reason, place, 0, id, id, {}}
          groups[#groups + 1] = group
          by_name[reason .. '\n' .. place] = group
        elseif not group then
          rest = rest or {'', '', 0, id, id, {}}
          group = rest
        end
        group[3], group[5] = group[3] + 1, id
        if #group[6] < most_samples then
          table.insert(group[6], {id, event, head(fields.t or ''), head(fields.k or '')})
        end
      end
    end
  end
  if #page < size and (most_ids == 0 or #ids < most_ids) then
    all = 1
    break
  end
  high = '(' .. scanned
end
if rest then groups[#groups + 1] = rest end
return {scanned, all, looked, fitting, most_ids > 0 and ids or groups}
