#!lua flags=allow-oom
-- Elect the caller for a term. Also on a full Redis, which could not be drained or trimmed otherwise.
-- ARGV: key, term (ms)
return call('SET', take(), '1', 'NX', 'PX', take()) and 1 or 0
