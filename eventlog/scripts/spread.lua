#!lua flags=allow-oom
-- Make due what the append script marked. For a process that was not elected: older workers do not read the marks.
-- ARGV: prefix
prefix = take()
spread_fresh()
