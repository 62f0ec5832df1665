#!lua flags=allow-oom,no-writes
-- The once-only steps of some ledgers, without their results.
-- ARGV: prefix, most steps of each ledger, most of all, then handler and scope of each
-- Returns: for each ledger, how many steps it has, then name, state and time (Unix ms) of the first ones by name.
prefix = take()
local most, left, answer = take_number(), take_number(), {}
while has_more() do
  local ledger = prefix .. 'ledger:' .. take() .. ':' .. take()
  local names = call('HKEYS', ledger)
  table.sort(names)
  local found = {#names}
  local shown = math.min(#names, most, left)
  left = left - shown
  for i = 1, shown do
    local record = read_record(call('HGET', ledger, names[i])) or {}
    found[#found + 1] = names[i]
    found[#found + 1] = record.v == 1 and type(record.state) == 'string' and record.state or 'unknown'
    found[#found + 1] = string.format('%d', math.max(0, math.min(count_of(record.at_ms), 2 ^ 53)))
  end
  answer[#answer + 1] = found
end
return answer
