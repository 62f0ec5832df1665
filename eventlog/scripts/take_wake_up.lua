#!lua flags=allow-oom
-- Take the job of a wake-up: delete it, and return its data unless it asks RQ for more than to call a function.
-- KEYS: the job. ARGV: maximum bytes of data, number of callback fields, their names, names of all other fields that a job has
-- Returns: {'', data}; {reason} for a job that is refused; nothing if there is no job.
local key, most, callbacks = KEYS[1], take_number(), take(take_number())
local kind = call('TYPE', key).ok
if kind == 'none' then return false end

local function checked()
  if kind ~= 'hash' then return {'not-a-hash'} end
  local known = 0
  for _, name in ipairs(callbacks) do
    if call('HSTRLEN', key, name) > 0 then return {'names-a-callback'} end
    known = known + call('HEXISTS', key, name)
  end
  while has_more() do known = known + call('HEXISTS', key, take()) end
  if call('HLEN', key) > known then return {'unknown-field'} end -- counted, since a name may be huge
  if call('HSTRLEN', key, 'data') > most then return {'too-large'} end
  return {'', call('HGET', key, 'data') or ''}
end

local found = checked()
call('UNLINK', key)
return found
