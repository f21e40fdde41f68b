"""Records to changes of counters. No I/O: neither Redis, nor HTTP, nor a clock.

Glossary
--------

source
    One netifyd that is listened to, named by its endpoint's URL. Two sources may use the same digest for
    different flows, so a flow is identified by its source and its digest.
digest
    netifyd's name of a flow, made of the interface, the addresses and the ports of its two ends. The same two
    ends get the same digest again.
flow id
    ``digest@tag``: the digest and a tag made of the source's URL. It names the flow in Redis.
digest chain
    netifyd v5 changes a flow's digest when detection refines it. ``digest_prev`` lists the earlier ones.
row
    Counters of one device, application and protocol. A flow's bytes belong to the row of its latest
    description.
live
    netifyd has not ended the flow, and the agent still follows it.
ended
    No longer live. The last of them are remembered for records that arrive late.
purged
    netifyd ended the flow itself (``flow_purge``), so further counters are those of another flow.
evicted, expired
    The agent stopped following the flow, because ``max_flows`` was reached or because it was silent for too
    long. netifyd may go on reporting it.
unclaimed bytes
    What a flow carried before its first record. They count only if the flow began after the baseline.
baseline
    The point in netifyd's own time from which everything a flow carried is ours to count.
left out
    The flow was captured at an interface that does not count, because its packets are counted elsewhere.

States of a flow
----------------

::

                 flow or counters             flow_purge, restart of netifyd
    (unknown) ───────────────────────> live ───────────────────────────────────> purged
                                       │  ^                                         │
               max_flows, idle, source │  │ a record that continues its total       │ its total continues
               no longer configured    v  │                                         │ (a late record)
                                     evicted <──────────────────────────────────────┘ → live

    evicted, purged ── pushed out by later ones, or its digest is needed ──> forgotten
"""
