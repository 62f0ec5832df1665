#!lua flags=allow-oom,no-writes
-- What a handler keeps of some keys of one lane.
-- ARGV: prefix, handler, lane, whether to read timers, whether to read states ('1' or '0'), then keys
-- Returns: per key its record of timers and its state, '' where there is none or it was not asked for.
prefix = take()
local handler, lane, reads_timers, reads_states = take(), take(), take() == '1', take() == '1'
local timers, answer = prefix .. 'timers:' .. handler .. ':' .. lane, {}
while has_more() do
  local key = take()
  answer[#answer + 1] = reads_timers and call('HGET', timers, key) or ''
  answer[#answer + 1] = reads_states and call('GET', prefix .. 'state:' .. handler .. ':' .. key) or ''
end
return answer
