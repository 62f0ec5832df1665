#!lua
-- Check that Redis accepts writes.
-- ARGV: the full name of a key without a meaning
return call('SET', take(), '1', 'PX', 60000)
