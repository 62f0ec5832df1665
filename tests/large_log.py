"""A log with a million events, written by loops within Redis. To append and handle them would take minutes.

Each record is a copy of one that the service wrote, with another id, entity and number. The copies are spread over
20 hours.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from eventlog.clock import now_ms
from eventlog.history import key_bytes
from eventlog.log import EventLog

POINT: Final = "charge-point:1"
"""Has every tenth event, and all that is open at the first of the other handlers."""
NUMBER: Final = 424_242
"""Stands in the sample where the number of an event is to be."""

_SPAN_MS = 20 * 3_600_000
_SESSIONS = 5_000
_SLICE = 20_000  # records that one call writes

_LIB = """
local prefix, lanes, hashes, from_ms, step_ms = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local first, last = tonumber(ARGV[6]), tonumber(ARGV[7])
local function place(n) -- the time and the lane of an event, its entity, and the packed hash of that
  local which = n % 10 == 0 and 0 or 1 + n % (#lanes - 1)
  local key = which == 0 and 'charge-point:1' or 'session:' .. which
  local hash = string.sub(hashes, 4 * which + 1, 4 * which + 4)
  return from_ms + n * step_ms, string.byte(lanes, which + 1), key, hash
end
local function packed(ms, hash, outcome) return struct.pack('>I8', ms * 1048576) .. hash .. string.char(outcome) end
"""
_EVENTS = """
local before, after = ARGV[8], ARGV[9] -- of the body
local fields = {}
for i = 10, #ARGV do fields[#fields + 1] = ARGV[i] end
for n = first, last do
  local ms, lane, key = place(n)
  for i = 1, #fields, 2 do
    if fields[i] == 'k' then fields[i + 1] = key end
    if fields[i] == 'b' then fields[i + 1] = before .. string.format('%d', n) .. after end
    if fields[i] == 'r' then fields[i + 1] = string.format('%d', ms) end
  end
  redis.call('XADD', prefix .. 'events:' .. lane, string.format('%d-0', ms), unpack(fields))
end
"""
_HISTORY = """
local handler, every = ARGV[8], tonumber(ARGV[9]) -- each so many, one is dead
for n = first, last do
  local ms, lane, _, hash = place(n)
  local outcome = every > 0 and n % every == 0 and 6 or 1
  local stream, id = prefix .. 'history:' .. handler .. ':' .. lane, string.format('%d-0', ms + 20)
  redis.call('XADD', stream, id, 'd', packed(ms, hash, outcome))
end
"""
_ONE_HISTORY = """
local stream, of_ms, of_hash, total = prefix .. 'history:' .. ARGV[8], tonumber(ARGV[9]), ARGV[10], tonumber(ARGV[11])
for n = first, last do
  local ms, _, _, hash = place(n)
  ms = ms + 1 -- of others
  if n == total then ms, hash = of_ms, of_hash end -- the last end is that of the event
  redis.call('XADD', stream, string.format('%d-1', from_ms + n * step_ms + 20), 'd', packed(ms, hash, 1))
end
"""
_LETTERS = """
local stream, every, fields = prefix .. 'dead:' .. ARGV[8], tonumber(ARGV[9]), {}
for i = 10, #ARGV do fields[#fields + 1] = ARGV[i] end
for n = first, last do
  if n % every == 0 then
    local ms, lane, key = place(n)
    for i = 1, #fields, 2 do
      if fields[i] == 'k' then fields[i + 1] = key end
      if fields[i] == 'event' then fields[i + 1] = string.format('%d-%d-0', lane, ms) end
    end
    redis.call('XADD', stream, string.format('%d-0', ms + 20), unpack(fields))
  end
end
"""
_OPEN = """
local open, head, tail = prefix .. 'open:' .. ARGV[8], ARGV[9], ARGV[10]
for n = first, last, 10 do
  local ms = place(n)
  local state = n == 0 and 'retry' or 'parked'
  redis.call('HSET', open, string.format('%d-0', ms), head .. state .. tail)
end
"""
_COPIES = """
local stream, fields = ARGV[8], {}
for i = 9, #ARGV do fields[#fields + 1] = ARGV[i] end
for n = first, last do redis.call('XADD', prefix .. stream, '*', unpack(fields)) end
"""


@dataclass
class LargeLog:
    """What is written, and how.

    Attributes:
        events: how many.
        each_dead: every so many events, one has a dead letter at the handler that settled all of them.
    """

    log: EventLog
    events: int = 1_000_000
    each_dead: int = 20

    def __post_init__(self) -> None:
        keys = [POINT, *(f"session:{n}" for n in range(1, _SESSIONS + 1))]
        self._lanes = bytes(self.log.lane_of(key, b"") for key in keys)
        self._hashes = b"".join(key_bytes(key) for key in keys)
        self._from_ms = now_ms() - _SPAN_MS - 3_600_000
        self._step_ms = _SPAN_MS // self.events
        assert self._step_ms > 0

    def id_of(self, number: int) -> str:
        """Return the id of an event."""
        return f"{self._lanes[_which(number)]}-{self.time_of(number)}-0"

    def key_of(self, number: int) -> str:
        """Return the entity of an event."""
        which = _which(number)
        return f"session:{which}" if which else POINT

    def time_of(self, number: int) -> int:
        """Return when an event arrived, in Unix ms."""
        return self._from_ms + number * self._step_ms

    async def write_events(self, sample: dict[bytes, bytes]) -> None:
        """Write all events as copies of one, which has `NUMBER` in its body, and count them as an append does."""
        before, found, after = sample[b"b"].partition(str(NUMBER).encode())
        assert found
        await self._write(_EVENTS, before, after, *_flat(sample))
        added = Counter(self._lanes[_which(number)] for number in range(self.events))
        type_ = sample[b"t"].decode()
        async with self.log.redis.pipeline() as counting:
            counting.hincrby(self.log.key("counts"), "accepted", self.events)
            counting.hincrby(self.log.key("counts"), f"accepted:{type_}", self.events)
            for lane, many in added.items():
                counting.hincrby(self.log.key("added"), f"{lane}|", many)
                counting.hincrby(self.log.key("added"), f"{lane}|{type_}", many)
            await counting.execute()

    async def settle(self, handler: str, letter: dict[bytes, bytes]) -> None:
        """Write the history of a handler that settled all of them, and dead letters as copies of one."""
        await self._write(_HISTORY, handler, self.each_dead)
        await self._write(_LETTERS, handler, self.each_dead, *_flat(letter))
        for lane in range(self.log.lanes):
            ((last, _),) = await self.log.redis.xrevrange(self.log.key("events", lane), count=1)
            for name in ("cur", "runto"):
                await self.log.redis.hset(self.log.key(name), f"{handler}|{lane}", last)

    async def settle_late(self, handler: str, event_id: str, key: str) -> None:
        """Write a history of as many entries in one lane, of which the last one is the end of an event."""
        lane, _, stream_id = event_id.partition("-")
        ms = stream_id.partition("-")[0]
        await self._write(_ONE_HISTORY, f"{handler}:{lane}", ms, key_bytes(key), self.events - 1)
        await self.log.redis.hset(self.log.key("cur"), f"{handler}|{lane}", f"{now_ms()}-0")

    async def park(self, handler: str, sample: bytes, many: int) -> None:
        """Write open records of `POINT`, the first to be tried again and the others behind it."""
        head, found, tail = sample.partition(b'"state":"')
        state, quote, rest = tail.partition(b'"')
        assert found
        assert state == b"retry"
        lane = self.log.lane_of(POINT, b"")
        own = json.dumps(json.loads(sample.partition(b"\n")[0])["key"]).encode()
        rest = rest.replace(b'"key":' + own, b'"key":"' + POINT.encode() + b'"')
        await self._write(_OPEN, f"{handler}:{lane}", head + found, quote + rest, until=10 * many)
        cur = await self.log.redis.hget(self.log.key("cur"), f"{handler}|{lane}")
        known = {"cur": cur, "oldest": f"{self.time_of(0)}-0"}  # as a drain keeps it
        await self.log.redis.hset(self.log.key("passed", handler, lane), mapping=known)

    async def copy(self, stream: str, sample: dict[bytes, bytes], many: int) -> None:
        """Append copies of an entry to another stream."""
        await self._write(_COPIES, stream, *_flat(sample), until=many)

    async def _write(self, script: str, *arguments: str | bytes | int, until: int | None = None) -> None:
        until = self.events if until is None else until
        for first in range(0, until, _SLICE):
            await self.log.redis.eval(
                _LIB + script,
                0,
                *(self.log.prefix, self._lanes, self._hashes, self._from_ms, self._step_ms),
                *(first, min(first + _SLICE, until) - 1, *arguments),
            )


def _which(number: int) -> int:
    """Return which entity an event is about, as the scripts choose it."""
    return 0 if number % 10 == 0 else 1 + number % _SESSIONS


def _flat(fields: dict[bytes, bytes]) -> Sequence[bytes]:
    return [part for pair in fields.items() for part in pair]
