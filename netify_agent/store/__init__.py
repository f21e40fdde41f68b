"""Accounts in Redis. The only package that knows key names (``layout``) and commands.

Writing: ``flusher`` (the thread), ``writer`` with ``deltas``, ``rates``, ``flow_writer`` and
``transaction``. Reading: ``query``, ``reader``, ``usage_reader``, ``flow_reader``, ``changes_reader``
(``/events``) and ``metrics_reader`` (``/metrics``). docs/store.md describes the keys.
"""
