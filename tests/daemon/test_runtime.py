"""What is asked of Python itself, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys


def run(program: str) -> None:
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_accounts_of_a_large_network_set_off_no_full_collection() -> None:
    """100,000 flows, and as many rows an interval that come and go."""
    run(
        """
import gc
from netify_agent.daemon import runtime as interpreter
from netify_agent.accounting.flow import Flow
from netify_agent.accounting.batch import Row
interpreter.prepare()
before = gc.get_stats()
flows = [Flow(str(number), "source") for number in range(100_000)]
for _ in range(3):
    rows = [Row() for _ in range(100_000)]
    more = [{number: number} for number in range(100_000)]
middle, full = (gc.get_stats()[i]["collections"] - before[i]["collections"] for i in (1, 2))
assert full == 0, full
assert middle > 0, middle
"""
    )


def test_a_thread_that_wakes_up_gets_its_turn_soon() -> None:
    run(
        """
import sys
from netify_agent.daemon import runtime as interpreter
interpreter.prepare()
assert sys.getswitchinterval() <= 0.001
"""
    )


def test_an_agent_without_receivers_loads_no_mail_client() -> None:
    """It takes more than a MiB."""
    run(
        """
import sys
import netify_agent.daemon.supervisor
assert "smtplib" not in sys.modules
assert "email.policy" not in sys.modules
"""
    )
