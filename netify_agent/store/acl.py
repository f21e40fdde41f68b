"""The commands that the agent sends to Redis, and the ACL user that may send no others."""

from __future__ import annotations

from netify_agent.store.layout import prefix

#: Commands on the keys of a gateway, and those of transactions. All exist in Redis 6.0.
COMMANDS = frozenset(
    (
        *("ping", "time", "watch", "unwatch", "multi", "exec", "info", "exists"),
        *("hget", "hgetall", "hkeys", "hmget", "hset", "hsetnx", "hincrby", "hdel"),
        *("del", "expire", "pexpire"),
        *("zadd", "zcard", "zcount", "zincrby", "zrange", "zrangebyscore", "zrem"),
        *("zremrangebyscore", "zrevrange", "zrevrangebyscore", "zscore", "sadd", "smembers"),
        *("append", "mget", "persist", "scard", "set", "srandmember", "srem"),
    )
)
#: Commands to connect: to choose a database, to know a master, to find a slot, to read while it moves.
CONNECTING = ("select", "role", "cluster|slots", "asking")


def rule(gateway: str) -> str:
    """Return the arguments of ACL SETUSER, or of ``user`` in an ACL file, for the agent of one gateway.

    The user may use all commands of the agent on the keys of ``gateway`` and no others. A password must be
    added. The rule keeps the passwords that the user already has.
    """
    commands = " ".join(f"+{name}" for name in (*sorted(COMMANDS), *CONNECTING))
    return f"netify-agent-{gateway} on resetkeys ~{prefix(gateway)}* -@all {commands}"
