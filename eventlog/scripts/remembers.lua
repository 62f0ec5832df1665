#!lua flags=no-writes,allow-oom
-- What this Redis reports: which process it is, the last id of each lane ('0-0' = none yet), and numbers: events ever
-- accepted, those of them that were appended again, the last pulse of housekeeping (ms), and now (ms).
-- ARGV: prefix, lanes
prefix = take()
local lanes = take_number()
local last_ids = {}
for lane = 0, lanes - 1 do
  local last = '0-0'
  local facts = redis.pcall('XINFO', 'STREAM', prefix .. 'events:' .. lane)
  if not facts.err then
    for i = 1, #facts, 2 do
      if facts[i] == 'last-generated-id' then last = facts[i + 1] end
    end
  end
  last_ids[#last_ids + 1] = last
end
return {string.match(call('INFO', 'server'), 'run_id:(%x+)'), last_ids, {
  count_of(redis.pcall('HGET', prefix .. 'counts', 'accepted')),
  count_of(redis.pcall('HGET', prefix .. 'counts', 'again')),
  count_of(call('HGET', prefix .. 'tenant', 'pulse')),
  now_ms(),
}}
