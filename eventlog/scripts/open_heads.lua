#!lua flags=allow-oom,no-writes
-- The open records of some events at one (handler, lane), without the bodies.
-- ARGV: prefix, handler, lane, most bytes to return, then ids
-- Returns: per id the record without its body, '' = it is not open, and the size of the body. Beyond the bytes, only its
--   state in brackets.
prefix = take()
local open = prefix .. 'open:' .. take() .. ':' .. take()
local most, answer = take_number(), {}
while has_more() do
  local record = call('HGET', open, take())
  local head = record and string.match(record, '^[^\n]*\n') or ''
  local body_bytes = #(record or '') - #head
  if #head > most then head = '[' .. (string.match(head, '^{"v":%d+,"state":"(%a+)"') or 'retry') .. ']' end
  most = most - #head
  answer[#answer + 1] = head
  answer[#answer + 1] = body_bytes
end
return answer
