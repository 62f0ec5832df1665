#!lua flags=allow-oom
-- Store the note of a process about an event that blocked its event loop; or take the note.
-- ARGV: prefix, handler, event id, note (JSON; '' = take it), how long it is kept (ms), most notes of the log
-- Returns: the note that was taken, or ''.
prefix = take()
local field, note, keep_ms, most = take() .. '|' .. take(), take(), take_number(), take_number()
local notes = prefix .. 'blocked'
if note == '' then
  local found = call('HGET', notes, field) or ''
  call('HDEL', notes, field)
  return found
end
if call('HLEN', notes) >= most then call('DEL', notes) end
call('HSET', notes, field, note)
call('PEXPIRE', notes, keep_ms)
return ''
