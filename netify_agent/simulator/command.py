"""The sub-command `netify-agent simulate`: flags, signals and exit codes around the server.

Flags are checked here and not by argparse, so that each mistake is one clear line.
"""

from __future__ import annotations

import argparse
import math
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType

from .endpoint import EndpointError
from .form import COMPRESSORS, FORMATS, FRAMINGS, Form, usual_form
from .kinds import PROFILES
from .poster import PostError, post
from .server import serve
from .simulation import Simulation

_PROTOCOLS = {"v4": 4, "v5": 5}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `simulate` to `parser`."""
    parser.add_argument("--listen", metavar="ENDPOINT", help="unix:///path or tcp://host:port to serve on")
    parser.add_argument("--post", metavar="URL", help="POST to http://host:port/path instead (v5)")
    parser.add_argument("--token-file", metavar="FILE", help="a file with the token of --post")
    parser.add_argument("--seed", default="1", help="same seed, same network and stream (default: 1)")
    parser.add_argument("--devices", default="20", help="number of devices (default: 20)")
    parser.add_argument("--hours", help="simulated length (default: endless)")
    parser.add_argument(
        "--speed",
        default="1",
        help="simulated seconds per second, or `max`: as fast as it is read (default: 1)",
    )
    parser.add_argument("--protocol", default="v4", help="netifyd's, v4 or v5 (default: v4)")
    parser.add_argument("--format", help=f"of v5: {', '.join(FORMATS)} (default: json)")
    parser.add_argument(
        "--framing", help=f"of v5: {', '.join(FRAMINGS)} (default: lines; none: nothing between payloads)"
    )
    parser.add_argument("--compress", help=f"of v5: {', '.join(COMPRESSORS)} (default: none)")
    parser.add_argument("--truth", metavar="FILE", help="where to write the exact totals as JSON")
    parser.add_argument("--profile", default="home", help="home or office (default: home)")


def run(args: argparse.Namespace) -> int:
    """Serve until the stream ends or SIGTERM or SIGINT arrives.

    Must be called in the main thread. Returns the exit code: 0 after a clean end, 1 when the endpoint or
    the truth file cannot be used, 2 for a bad flag; each mistake is one line on standard error.
    """
    try:
        form, token = _form(args), _token(args)
        simulation, speed = _simulation(args)
    except ValueError as error:
        print(f"netify-agent simulate: {error}", file=sys.stderr)
        return 2
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        if args.post:
            post(simulation, args.post, speed, args.truth, stop, form, token)
        else:
            serve(simulation, args.listen, speed, args.truth, stop, form=form)
    except (EndpointError, PostError, OSError) as error:
        print(f"netify-agent simulate: {error}", file=sys.stderr)
        return 1
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0


def _form(args: argparse.Namespace) -> Form:
    """Return the format of the stream, and check its destination. Raises ValueError."""
    if bool(args.listen) == bool(args.post):
        raise ValueError(
            "--listen is required: unix:///path or tcp://host:port (or --post: http://host:port/path)"
        )
    if args.listen and not args.listen.startswith(("unix:///", "tcp://")):
        raise ValueError(f"--listen: {args.listen!r}, expected unix:///path or tcp://host:port")
    if args.post and not args.post.startswith("http://"):
        raise ValueError(f"--post: {args.post!r}, expected http://host:port/path")
    if args.protocol not in _PROTOCOLS:
        raise ValueError(f"--protocol: {args.protocol!r}, allowed are v4 and v5")
    form = usual_form(_PROTOCOLS[args.protocol])
    for flag in ("format", "framing", "compress", "post"):
        if getattr(args, flag) and args.protocol == "v4":
            raise ValueError(f"--{flag}: {getattr(args, flag)!r}, allowed with --protocol v5 only")
    form = Form(args.format or form.format, args.framing or form.framing, args.compress or form.compress)
    if problem := form.problem():
        raise ValueError(problem)
    return form


def _token(args: argparse.Namespace) -> str | None:
    """Return the first line of the file. Raises ValueError."""
    if not args.token_file:
        return None
    try:
        return Path(args.token_file).read_text(encoding="utf-8").split("\n", 1)[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"--token-file: {args.token_file}: {error}") from None


def _simulation(args: argparse.Namespace) -> tuple[Simulation, float | None]:
    if args.profile not in PROFILES:
        raise ValueError(f"--profile: {args.profile!r}, allowed are {' and '.join(sorted(PROFILES))}")
    speed = None if args.speed == "max" else _positive("--speed", args.speed)
    hours = None if args.hours is None else _positive("--hours", args.hours)
    try:
        simulation = Simulation(
            _whole("--seed", args.seed),
            _whole("--devices", args.devices),
            hours,
            version=_PROTOCOLS[args.protocol],
            profile=args.profile,
            start_ms=int(time.time()) * 1000,
        )
    except ValueError as error:
        text = str(error)
        raise ValueError(text if text.startswith("--") else f"--{text}") from None
    return simulation, speed


def _whole(flag: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{flag}: {text!r}, expected a whole number") from None


def _positive(flag: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise ValueError(f"{flag}: {text!r}, expected a number above 0")
    return value
