"""The units work on the oldest systemd that is promised."""

from __future__ import annotations

from unit_files import documented_directives, hardening, used_directives

UBUNTU_22_04 = 249


def test_every_directive_is_in_the_table_and_known_to_the_oldest_systemd() -> None:
    table = documented_directives()
    assert {name for name in table if "=" not in name} == used_directives()
    assert {name: version for name, version in table.items() if version > UBUNTU_22_04} == {}


def test_the_collector_is_hardened_as_the_agent_is() -> None:
    assert hardening("netify-collector.service") == hardening("netify-agent.service")
