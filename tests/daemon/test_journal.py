"""What goes to the journal says how bad it is; what goes to a person does not show that."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from netify_agent.daemon.journal import LINES_A_MINUTE


def complaint(tmp_path: Path, journal_stream: str | None) -> str:
    """What ``run`` says of a configuration with two mistakes; None for the journal's own variable."""
    config = tmp_path / "netify-agent.yaml"
    config.write_text("intervall: 5\nlog_level: loud\n")
    with (tmp_path / "stderr").open("w") as stderr:
        place = os.fstat(stderr.fileno())
        done = subprocess.run(
            [sys.executable, "-m", "netify_agent", "run", "--config", str(config)],
            env={**os.environ, "JOURNAL_STREAM": journal_stream or f"{place.st_dev}:{place.st_ino}"},
            stderr=stderr,
        )
    assert done.returncode == 78
    return (tmp_path / "stderr").read_text()


def test_each_mistake_in_the_configuration_is_an_error_in_the_journal(tmp_path: Path) -> None:
    lines = complaint(tmp_path, None).splitlines()
    assert len(lines) == 2
    assert all(line.startswith(f"<3>{tmp_path}") for line in lines)


def test_a_shell_that_a_service_started_is_not_the_journal(tmp_path: Path) -> None:
    lines = complaint(tmp_path, "0:0").splitlines()
    assert len(lines) == 2
    assert all(line.startswith(str(tmp_path)) for line in lines)


def test_a_flood_of_one_kind_is_cut_and_says_so() -> None:
    flood = (
        "import logging\n"
        "from netify_agent.daemon import journal\n"
        "journal.set_up('info')\n"
        "for number in range(1000):\n"
        "    logging.error('flood %d', number)\n"
        "logging.error('something else')\n"
    )
    done = subprocess.run([sys.executable, "-c", flood], capture_output=True, text=True, check=True)
    lines = done.stderr.splitlines()
    assert len(lines) == LINES_A_MINUTE + 2
    assert lines[-2].endswith(f"flood {LINES_A_MINUTE} (more of these are left out for a minute)")
    assert lines[-1].endswith("something else")
