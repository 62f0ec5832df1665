#!lua flags=allow-oom
-- Elect the caller for a term. Also on a full Redis, which could not be drained or trimmed otherwise.
-- A term that lasts for longer than that began before the clock of Redis went back, so it is over.
-- ARGV: key, term (ms)
local key, term_ms = take(), take_number()
if call('PTTL', key) > term_ms then call('DEL', key) end
return call('SET', key, '1', 'NX', 'PX', term_ms) and 1 or 0
