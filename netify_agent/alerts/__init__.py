"""Alerts: rules, their state, and delivery to receivers.

``rules`` finds what is wrong, ``engine`` turns that into alerts which fire once and resolve once. ``state``
is what survives a restart. ``delivery`` sends notifications, ``receivers`` has the protocols.
"""
