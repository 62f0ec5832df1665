"""Find out which commands the ACL user of Redis lacks, by running each one on keys of its own.

The keys lie under the log's prefix, so that the same permissions count, and live for a minute at most.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import RedisError

from eventlog.connection.reasons import reason_of

if TYPE_CHECKING:
    from eventlog.log import EventLog

_STEM: Final = "tried:rights:"
_STRING, _MOVED, _HASH, _SET, _SORTED, _LIST, _STREAM = (f"{_STEM}{n}" for n in range(7))
_LIVES_MS: Final = 60_000

TRIES: Final[tuple[tuple[Any, ...], ...]] = (
    ("SET", _STRING, "1", "PX", _LIVES_MS),
    ("GET", _STRING),
    ("STRLEN", _STRING),
    ("MGET", _STRING),
    ("INCR", _STRING),
    ("EXISTS", _STRING),
    ("TYPE", _STRING),
    ("EXPIRE", _STRING, 60),
    ("PEXPIRE", _STRING, _LIVES_MS),
    ("PTTL", _STRING),
    ("MEMORY", "USAGE", _STRING),
    ("RENAME", _STRING, _MOVED),
    ("HSET", _HASH, "f", "1"),
    ("PEXPIRE", _HASH, _LIVES_MS),
    ("HSETNX", _HASH, "f", "1"),
    ("HINCRBY", _HASH, "n", 1),
    ("HGET", _HASH, "f"),
    ("HMGET", _HASH, "f"),
    ("HGETALL", _HASH),
    ("HKEYS", _HASH),
    ("HVALS", _HASH),
    ("HLEN", _HASH),
    ("HEXISTS", _HASH, "f"),
    ("HSTRLEN", _HASH, "f"),
    ("HRANDFIELD", _HASH),
    ("HSCAN", _HASH, 0),
    ("HDEL", _HASH, "f"),
    ("SADD", _SET, "m"),
    ("PEXPIRE", _SET, _LIVES_MS),
    ("SISMEMBER", _SET, "m"),
    ("SMISMEMBER", _SET, "m"),
    ("SMEMBERS", _SET),
    ("SREM", _SET, "m"),
    ("ZADD", _SORTED, 1, "m"),
    ("PEXPIRE", _SORTED, _LIVES_MS),
    ("ZCARD", _SORTED),
    ("ZSCORE", _SORTED, "m"),
    ("ZMSCORE", _SORTED, "m"),
    ("ZRANGE", _SORTED, 0, -1),
    ("ZRANGEBYSCORE", _SORTED, 0, 1),
    ("ZCOUNT", _SORTED, 0, 1),
    ("ZREMRANGEBYSCORE", _SORTED, 2, 3),
    ("ZREM", _SORTED, "m"),
    ("RPUSH", _LIST, "e"),
    ("PEXPIRE", _LIST, _LIVES_MS),
    ("LLEN", _LIST),
    ("BLPOP", _LIST, 1),
    ("XADD", _STREAM, "*", "f", "1"),
    ("PEXPIRE", _STREAM, _LIVES_MS),
    ("XLEN", _STREAM),
    ("XRANGE", _STREAM, "-", "+"),
    ("XREVRANGE", _STREAM, "+", "-"),
    ("XREAD", "COUNT", 1, "STREAMS", _STREAM, "0"),
    ("XINFO", "STREAM", _STREAM),
    ("XDEL", _STREAM, "0-1"),
    ("XTRIM", _STREAM, "MAXLEN", 0),
    ("SCRIPT", "LOAD", "return 1"),
    ("SCAN", 0, "COUNT", 1),
    ("TIME",),
    ("INFO", "server"),
    ("PING",),
    ("UNLINK", _MOVED),
    ("DEL", _STRING, _HASH, _SET, _SORTED, _LIST, _STREAM),
)
"""Every command of the log and of the wake-ups, with harmless arguments. A word that is a key gets the prefix."""


def acl_rules(prefix: str) -> str:
    """Return the least that a user of Redis needs, as `ACL SETUSER` takes it."""
    return f"resetchannels ~{prefix}* &{prefix}* +@all -@dangerous -@admin +info"


async def missing_rights(log: EventLog) -> list[str]:
    """Return the commands that the user may not run, in lower case; `a key` if its keys are out of reach.

    Raises:
        redis.RedisError, OSError: Redis does not answer.
    """
    async with log.redis.pipeline(transaction=False) as asked:
        for words in TRIES:
            asked.execute_command(*(_with_prefix(log, word) for word in words))
        answers = await asked.execute(raise_on_error=False)
    refused = {
        reason.permission or words[0].lower()
        for words, answer in zip(TRIES, answers, strict=True)
        if isinstance(answer, RedisError) and (reason := reason_of(answer)).slug == "redis-no-permission"
    }
    return sorted(refused)


def _with_prefix(log: EventLog, word: Any) -> Any:
    return log.key(word) if isinstance(word, str) and word.startswith(_STEM) else word
