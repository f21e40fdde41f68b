"""The console command ``netify-agent``: run, check, forget, notify-test, acl, collect, simulate, version.

What only another command needs is imported when that command runs, so that the daemon does not hold it.
"""

from __future__ import annotations

import argparse
import faulthandler
import logging
import os
import sys
from collections.abc import Sequence

from netify_agent import __version__
from netify_agent.api.http.parameters import device_name
from netify_agent.config.settings import ConfigError, Settings, load
from netify_agent.config.types import LOG_LEVELS, plain_name
from netify_agent.config.yaml_reader import Expected
from netify_agent.daemon import journal, runtime
from netify_agent.daemon.supervisor import Supervisor
from netify_agent.netifyd.flow_record import OTHER_DEVICE

COLLECTOR_CONFIG = "/etc/netify-collector.yaml"
DEFAULT_CONFIG = "/etc/netify-agent.yaml"
EX_CONFIG = 78  # sysexits.h: something was found in an unconfigured or misconfigured state


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code (2 for a wrong command line, as argparse does)."""
    parser = argparse.ArgumentParser(
        prog="netify-agent",
        description="Accounts every byte that netifyd sees to its device and application.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="run the daemon in the foreground")
    examine = commands.add_parser("check", help="validate the configuration, try netifyd and Redis")
    remove = commands.add_parser("forget", help="have the running agent remove a device")
    remove.add_argument(
        "device",
        metavar="DEVICE",
        type=_device,
        help=f"its MAC address, its IP address if it has none, or {OTHER_DEVICE}",
    )
    test = commands.add_parser("notify-test", help="send a test notification to one receiver")
    test.add_argument("receiver", metavar="NAME", help="a receiver of notify: in the configuration")
    for command in (run, examine, remove, test):
        command.add_argument(
            "--config", metavar="FILE", help=f"configuration (default: {DEFAULT_CONFIG} if it exists)"
        )
    run.add_argument("--log-level", choices=LOG_LEVELS, help="overrides the file's")
    acl = commands.add_parser("acl", help="print the Redis user that a gateway's agent needs")
    acl.add_argument("name", metavar="NAME", type=_gateway_name, help="the gateway's name")
    collect = commands.add_parser("collect", help="run the collector of a fleet in the foreground")
    collect.add_argument(
        "--config",
        metavar="FILE",
        default=COLLECTOR_CONFIG,
        help=f"configuration (default: {COLLECTOR_CONFIG})",
    )
    simulate = commands.add_parser("simulate", help="stand in for netifyd")
    if (arguments or sys.argv[1:])[:1] == ["simulate"]:
        from netify_agent.simulator import command as simulator

        simulator.add_arguments(simulate)
        return simulator.run(parser.parse_args(arguments))
    commands.add_parser("version", help="print the version")
    options = parser.parse_args(arguments)
    if options.command == "version":
        print(f"netify-agent {__version__}")
        return 0
    if options.command == "acl":
        from netify_agent.store.acl import rule

        print(f"ACL SETUSER {rule(options.name)}")
        return 0
    if options.command == "collect":
        return _collect(options.config)
    try:
        path, settings = _settings(options.config)
    except ConfigError as error:
        _print_problems(error)
        return EX_CONFIG
    if options.command == "check":
        from netify_agent.check import check

        return check(path, settings)
    if options.command == "forget":
        from netify_agent.forget import forget

        return forget(settings, options.device)
    if options.command == "notify-test":
        from netify_agent.notify_test import notify_test

        return notify_test(settings, options.receiver)
    journal.set_up(options.log_level or settings.log_level)
    faulthandler.enable()  # systemd's watchdog ends a stuck process with SIGABRT: print where
    runtime.prepare()
    return Supervisor(path, settings, options.log_level).run()


def _collect(path: str) -> int:
    """Run the collector. Returns the exit code."""
    from netify_agent.config.collector import load as load_collector
    from netify_agent.daemon.collect import CollectorProcess

    try:
        settings = load_collector(path)
        collector = CollectorProcess(path, settings)
    except ConfigError as error:
        _print_problems(error)
        return EX_CONFIG
    journal.set_up(settings.log_level)
    faulthandler.enable()
    return collector.run()


def _gateway_name(text: str) -> str:
    """Read the name of a gateway from the command line."""
    try:
        return plain_name(text)
    except Expected as error:
        raise argparse.ArgumentTypeError(f"expected {error}") from None


def _device(text: str) -> str:
    """The name of a device in the store. Raises ArgumentTypeError."""
    try:
        return device_name(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected {error}, found '{text}'") from None


def _print_problems(error: ConfigError) -> None:
    """Print every problem; in the journal with the priority of an error."""
    if not journal.in_journal():
        print(error, file=sys.stderr)
        return
    journal.set_up("error")
    for problem in error.problems:
        logging.error("%s", problem)


def _settings(path: str | None) -> tuple[str | None, Settings]:
    """The configuration, and the file it is from: None where the defaults apply. Raises ConfigError."""
    if path is None and os.path.exists(DEFAULT_CONFIG):
        path = DEFAULT_CONFIG
    return path, load(path)
