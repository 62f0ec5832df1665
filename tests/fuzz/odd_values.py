"""The values and names that the payload fuzzer puts into a body: odd ones, and some that are not JSON."""

LONG, VERY_LONG = "x" * 1_500, "a" * 70_000
TEXTS = (
    "", " ", "0", "-1", "none", "null", "true", "12,5", "12.5 kWh", "1_0", "1e400", "NaN", "Infinity", "0x10",
    "+1", "½", "9223372036854775807", "-9223372036854775808", "9" * 300, "\u202egnp.exe", "\u0000",
    "\x1b[2J\x1b]0;t\x07", "a\r\nb", "a\tb|c", "\u0085\u009b31m", "\ufeffx", "\u2028", "e\u0301", "😀",
    "漢" * 100, "'; DROP TABLE", "%s%n{0}", "session:1", "*", "receiver.gap.closed", "receiver.", "untyped",
    "SessionUpdateNotification", "İ", "ß" * 80,
)  # fmt: skip
DATES = (
    "2026-11-24", "2026-11-24T03:50:00Z", "2026-11-24T03:50:00", "2026-11-24 03:50", "2026-W48-2T03",
    "20261124T0350", "1970-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00",
    "2099-01-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-11-24T24:00:00Z", "2026-11-24T03:50:60Z",
    "2026-11-24T03:50:00.123456789Z", "2026-11-24T03:50:00+23:59:59.999999", "2026-11-24T03:50:00+24:00",
    "24.11.2026 03:50", "1764000000", "\uff12\uff10\uff12\uff16-11-24T03:50:00Z", "2026-11-24T03:50:00Z\u0000",
    "-2026-11-24T03:50:00Z", "0000-00-00 00:00:00",
)  # fmt: skip
NUMBERS = (
    b"0", b"-0", b"-1", b"1.0", b"-0.0", b"1e400", b"-1e400", b"1e-400", b"5e-324", b"1.5",
    b"9007199254740993", b"9007199254740993.0", b"9223372036854775807", b"9223372036854775808",
    b"-9223372036854775808", b"1" + b"0" * 30, b"9" * 4299, b"9" * 4300, b"9" * 4301, b"0." + b"3" * 900,
    b"1e9999999999", b"-" + b"9" * 600, b"1E5", b"1e+5",
)  # fmt: skip
SHAPES = (
    b"null", b"true", b"false", b"[]", b"{}", b"[[]]", b"[null]", b"[{}]", b'{"":""}', b'{"id":null}',
    b'{"0":{"id":1}}', b"[1,\"a\",null,{}]", b'{"a":1,"a":2}', b'{"id":1,"id":{}}', b"[" * 150 + b"]" * 150,
    b"[" * 198 + b"]" * 198, b"[" * 199 + b"]" * 199, b"[" * 1000 + b"]" * 1000,
    b'{"a":' * 150 + b"1" + b"}" * 150, b"[" + b"0," * 500 + b"0]",
    b"{" + b",".join(b'"%d":%d' % (n, n) for n in range(300)) + b"}", b'{"notification":"x"}', b'{"data":{}}',
)  # fmt: skip
NO_JSON = (
    b"NaN", b"Infinity", b"-Infinity", b"01", b"1.", b".5", b"+1", b"'a'", b"undefined", b"", b"{", b"]",
    b'"', b"tru", b"\xff", b"/**/1", b"1,", b'"\\ud800"', b'"\\udc00\\ud800"', b'"a\\ud83d"',
    b'"\\uD83D\\u0041"', b'"\\x41"', b'"\\u00"', b'"\x01"', b'"\xed\xa0\x80"', b'"\xc0\xaf"',
    b'"\xf4\x90\x80\x80"', b'"\n"',
)  # fmt: skip
NAMES = (
    "", "\ud800", "__class__", "__proto__", "model_fields", "model_extra", "_body", "_unset", "notification",
    "data", "id", "session", "copy", "self", "a.b", "a[0]", "x" * 500, "\x1b[31m", "\n", "Notification",
    "session_id", "sessionId", "chargePoint", "lastUpdatedAt", "dict", "json",
)  # fmt: skip
