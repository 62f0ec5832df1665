#!lua flags=allow-oom
-- Release a lock, unless another process holds it by now.
-- ARGV: key, token
local key, token = take(), take()
return call('GET', key) == token and call('DEL', key) or 0
