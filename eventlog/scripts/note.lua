#!lua flags=allow-oom
-- Count refused requests, and list notifications that were dropped as copies of an event.
-- ARGV: prefix, life of both (ms), most fields of a table of counts, most copies, number of counts, for each: hour,
--   field, count; then for each copy: type, key, reason, received_at_ms, key id, fingerprint of the body
prefix = take()
local life_ms, most_fields, most_copies = take_number(), take_number(), take_number()
for _ = 1, take_number() do
  local counts, field, by = prefix .. 'refused:' .. take(), take(), take()
  if call('HLEN', counts) < most_fields or call('HEXISTS', counts, field) == 1 then
    call('HINCRBY', counts, field, by)
    call('PEXPIRE', counts, life_ms)
  end
end
if not has_more() then return end
local dropped = prefix .. 'dropped'
call('XTRIM', dropped, 'MINID', '~', string.format('%d', math.max(0, now_ms() - life_ms)))
while has_more() do
  local copy = take(6)
  call('XADD', dropped, 'MAXLEN', '~', most_copies, '*',
    't', copy[1], 'k', copy[2], 'w', copy[3], 'r', copy[4], 's', copy[5], 'f', copy[6])
end
call('PEXPIRE', dropped, life_ms)
