"""Sends reads, and WATCH, where a Redis Cluster redirects them.

A flush follows MOVED only. While its slot is being moved (ASK, TRYAGAIN) it waits: a transaction needs all
its keys on one node, and what is missing there could look like a lost store. Reads follow ASK key by key.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis

from netify_agent.store.connection import owner_of
from netify_agent.store.errors import Redirect, redirect_in

_MOVES = 4  # redirections in a row; more than two mean that the nodes disagree


def execute(pipe: Any) -> list[Any]:
    """Send the reads queued in a pipeline of redis-py and follow redirections.

    :param pipe: not a transaction; the commands have one key each.
    :returns: the replies in order. The last command was executed after all others, so that comparing it with
        the first shows whether anything was changed between them.
    :raises redis.RedisError: the connection failed, or a command was refused.
    """
    commands = list(pipe.command_stack)
    for _ in range(_MOVES):
        replies = _attempt(pipe, commands)
        if replies is not None:
            break
    else:
        pipe.command_stack = commands
        replies = pipe.execute(raise_on_error=False)
    for reply in replies:
        if isinstance(reply, redis.RedisError):
            raise reply
    return replies


@contextmanager
def watching(client: Any, key: str) -> Iterator[Any]:
    """Return a transaction pipeline of redis-py that watches ``key``, at the node that has it.

    :raises redis.RedisError: as WATCH does.
    """
    with client.pipeline(transaction=True) as pipe:
        for attempt in range(_MOVES):
            try:
                pipe.watch(key)
                break
            except redis.ResponseError as error:
                redirect = redirect_in(error)
                is_followed = owner_of(client.connection_pool) is not None
                if redirect is None or redirect.code != "MOVED" or not is_followed or attempt == _MOVES - 1:
                    raise
                pipe.reset()  # the next connection of the pool goes to the new owner
        yield pipe


def _attempt(pipe: Any, commands: Sequence[Any]) -> list[Any] | None:
    """Return the replies, with those of keys that have moved; None to try again, as the slot has moved."""
    pipe.command_stack = list(commands)
    replies: list[Any] = pipe.execute(raise_on_error=False)
    owner = owner_of(pipe.connection_pool)
    if owner is None:
        return replies
    asked: list[tuple[int, Redirect]] = []
    for index, reply in enumerate(replies):
        redirect = redirect_in(reply) if isinstance(reply, redis.ResponseError) else None
        if redirect is not None and redirect.code == "MOVED":
            return None
        if redirect is not None:
            asked.append((index, redirect))
    if not asked:
        return replies
    target = asked[0][1]
    if not target.host:
        return replies
    pool = owner.pool_of((target.host, target.port))
    try:
        other: Any = redis.Redis(connection_pool=pool).pipeline(transaction=False)
        for index, _ in asked:
            arguments, options = commands[index]
            other.execute_command("ASKING")
            other.execute_command(*arguments, **options)
        for (index, _), reply in zip(asked, other.execute(raise_on_error=False)[1::2], strict=True):
            if isinstance(reply, redis.ResponseError) and redirect_in(reply) is not None:
                return None  # the move has ended meanwhile
            replies[index] = reply
    finally:
        pool.disconnect()
    last = len(commands) - 1
    if asked[-1][0] != last:
        pipe.command_stack = [commands[last]]
        replies[last] = pipe.execute(raise_on_error=False)[0]
        if isinstance(replies[last], redis.ResponseError) and redirect_in(replies[last]) is not None:
            return None
    return replies
