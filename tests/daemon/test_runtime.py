"""What is asked of Python itself, each in a process of its own."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest


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

import pytest
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

import pytest
import netify_agent.daemon.supervisor
assert "smtplib" not in sys.modules
assert "email.policy" not in sys.modules
"""
    )


def test_an_agent_without_a_collector_loads_nothing_of_the_fleet() -> None:
    run(
        """
import sys
import netify_agent.cli
loaded = [name for name in sys.modules if name.startswith("netify_agent.fleet.")]
assert not loaded, loaded
"""
    )


def test_memory_that_was_freed_goes_back_to_the_system() -> None:
    """One heap for all threads; large buffers are outside of it, also after a larger one was freed."""
    if not hasattr(ctypes.CDLL(None), "mallopt"):
        pytest.skip("this C library has no mallopt(3)")
    run(
        """
from pathlib import Path
from threading import Thread
from netify_agent.daemon import runtime as interpreter

def is_in_heap(buffer):
    line = next(line for line in Path("/proc/self/maps").read_text().splitlines() if "[heap]" in line)
    first, end = (int(address, 16) for address in line.split()[0].split("-"))
    return first <= id(buffer) < end

interpreter.prepare()
small, large = [], []

def allocate():
    small.append(bytes(60_000))
    bytes(20_000_000)
    large.append(bytes(1_000_000))

thread = Thread(target=allocate)
thread.start()
thread.join()
assert is_in_heap(small[0])
assert not is_in_heap(large[0])
"""
    )


def test_a_c_library_without_these_settings_is_no_error() -> None:
    run(
        """
import ctypes
ctypes.CDLL = lambda name: object()
from netify_agent.daemon import runtime as interpreter
interpreter.prepare()
"""
    )
