"""``netify-agent notify-test`` and ``check``: what a receiver answers, and what is wrong with one."""

from __future__ import annotations

from pathlib import Path

import pytest
from alert_receivers import hook

from netify_agent.cli import main


def test_notify_test_prints_what_the_receiver_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "netify-agent.yaml"
    with hook() as receiver:
        config.write_text(f"notify: {{phone: {{type: webhook, url: '{receiver.url}'}}}}\n")
        arguments = ["notify-test", "--config", str(config), "phone"]
        assert main(arguments) == 0
        address = f"http://127.0.0.1:{receiver.port}"
        assert capsys.readouterr().out == f"ok    notify: phone: webhook at {address}: 200 OK thank\n"
        assert receiver.documents[0]["commonLabels"]["alertname"] == "test"
        receiver.behaviour = "refuse"
        assert main(arguments) == 1
        assert capsys.readouterr().out.endswith("it answers 503 Busy\n")
    assert main([*arguments[:-1], "fone"]) == 1
    assert capsys.readouterr().out == "WRONG notify: no receiver 'fone', expected phone\n"
    config.write_text("notify: {phone: {type: webhook, url: 'http://h/', token_file: /none}}\n")
    assert main(arguments) == 1
    assert capsys.readouterr().out.startswith("WRONG notify.phone.token_file: /none: can't be read")
