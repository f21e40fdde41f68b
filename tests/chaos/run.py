"""`make chaos`: faults by seed, against the running agent; what Redis holds must be the truth to the byte.

The first seeds strike with one fault each, the others with several in a random order, of which some strike
while another party's fault lasts. A failing seed is printed with its plan, and `make chaos SEED=n` runs it
again.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import agent_faults  # noqa: E402, F401
import client_faults  # noqa: E402, F401
import netifyd_faults  # noqa: E402, F401
import redis_faults  # noqa: E402, F401
from faults import FAULTS, NotHere  # noqa: E402
from support import short_directory  # noqa: E402
from world import World  # noqa: E402

_PARTIES = ("netifyd", "Redis", "agent", "clients")
_ORDER = [name for party in _PARTIES for name in FAULTS if FAULTS[name].party == party]
_LASTING = [name for name in _ORDER if FAULTS[name].strike is not None]

_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

Step = tuple[str, ...]  # one fault; or two, the second of which lasts while the first one strikes


class Outcome(NamedTuple):
    """How a seed went.

    :ivar skipped: what could not be done here; :ivar peak_kib: of the agent's resident memory.
    :ivar buckets: closed ones of its history.
    """

    seed: int
    steps: list[Step]
    wrong: list[str]
    skipped: list[str]
    peak_kib: int
    buckets: int
    seconds: float


def plan(seed: int, only: str | None, times: int) -> list[Step]:
    """The faults of a seed, in their order."""
    if only is not None:
        return [tuple(only.split(", while "))] * times
    if seed < len(_ORDER):
        return [(_ORDER[seed],)]
    chance = random.Random(seed)
    return [_overlap(name, chance) for name in chance.sample(_ORDER, chance.randint(2, 5))]


def _overlap(name: str, chance: random.Random) -> Step:
    """Half of all faults strike while one of another party lasts, where that can be."""
    during = [other for other in _LASTING if _may_overlap(name, other)]
    return (name, chance.choice(during)) if during and chance.random() < 0.5 else (name,)


def _may_overlap(name: str, lasting: str) -> bool:
    one, other = FAULTS[name], FAULTS[lasting]
    return one.party != other.party and not (one.asks_redis and other.party == "Redis")


@contextmanager
def _lasts(world: World, names: Step) -> Iterator[None]:
    """What lasts while the rest of a step happens."""
    for name in names:
        strike = FAULTS[name].strike
        assert strike is not None
        world.redis_ails = FAULTS[name].party == "Redis"
        try:
            with strike(world):
                yield
        finally:
            world.redis_ails = False
        return
    yield


def run(only: str | None, times: int, seed: int) -> Outcome:
    """Run one seed."""
    began = time.monotonic()
    steps, skipped = plan(seed, only, times), []
    with short_directory() as directory:
        world = World(directory, seed)
        try:
            world.begin()
            world.daemon.flushed()  # from now on the store knows when it first heard of this netifyd
            world.deliver(world.chance.randint(0, 400))
            for step in steps:
                world.deliver(world.chance.randint(0, 100))
                try:
                    with _lasts(world, step[1:]):
                        FAULTS[step[0]].act(world)
                        world.revive()
                except NotHere as error:
                    skipped.append(f"{', while '.join(step)}: {error}")
                world.revive()
                if not world.connected:
                    world.connect()
                world.measure()
            world.resolve()
            wrong = world.verdict()
        except Exception as error:
            log = world.daemon.log.read_text(errors="replace")[-2000:] if world.daemon.log.is_file() else ""
            wrong = [f"{error!r}\n{traceback.format_exc()}\n{log}"]
        finally:
            world.close()
    return Outcome(seed, steps, wrong, skipped, world.peak_kib, world.buckets, time.monotonic() - began)


def _end(number: int, _frame: object) -> None:
    """End as by an exception, so that nothing is left behind: no process, no mount, no directory."""
    for one in _ENDING:  # a second one must not interrupt that
        signal.signal(one, signal.SIG_IGN)
    sys.exit(128 + number)


def _mind_signals() -> None:
    for number in _ENDING:
        signal.signal(number, _end)


def _outcomes(seeds: list[int], jobs: int, only: str | None, times: int) -> Iterator[Outcome]:
    """Run the seeds, ``jobs`` at a time: each is a world of its own."""
    one = partial(run, only, times)
    if jobs == 1:
        yield from map(one, seeds)
        return
    with ProcessPoolExecutor(jobs, initializer=_mind_signals) as pool:
        try:
            for future in as_completed([pool.submit(one, seed) for seed in seeds]):
                yield future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)  # those under way end and clean up
            raise


def main() -> int:
    """Run the seeds that were asked for; the exit code says whether all is well."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many (default: 200)")
    parser.add_argument("--seed", type=int, nargs="+", help="these alone")
    parser.add_argument("--first", type=int, default=0, help="where to begin (default: 0)")
    parser.add_argument("--jobs", type=int, default=1, help="seeds at a time (default: 1)")
    parser.add_argument("--only", help="this fault alone, in every seed; or 'a fault, while one that lasts'")
    parser.add_argument("--times", type=int, default=1, help="how often in a seed, with --only (default: 1)")
    options = parser.parse_args()
    for name in options.only.split(", while ") if options.only else ():
        if name not in FAULTS:
            parser.error(f"--only: expected one of {', '.join(_ORDER)}; found {name}")
    _mind_signals()
    seeds = options.seed or list(range(options.first, options.first + options.seeds))
    began, failed, struck, peak = time.monotonic(), [], Counter[str](), 0
    left_out: set[str] = set()
    for outcome in _outcomes(seeds, options.jobs, options.only, options.times):
        struck.update(name for step in outcome.steps for name in step)
        left_out.update(outcome.skipped)
        peak = max(peak, outcome.peak_kib)
        verdict = "FAILED" if outcome.wrong else "ok"
        steps = "; ".join(", while ".join(step) for step in outcome.steps)
        cost = f"{outcome.seconds:.0f} s, {outcome.peak_kib >> 10} MiB, {outcome.buckets:,} buckets"
        print(f"seed {outcome.seed}: {verdict} in {cost}: {steps}", flush=True)
        for text in outcome.wrong:
            print(f"    {text}", flush=True)
        if outcome.wrong:
            failed.append(outcome.seed)
    print(
        f"\n{len(seeds)} seeds, {sum(struck.values())} faults, {(time.monotonic() - began) / 60:.1f} minutes"
    )
    print(f"resident memory of the agent at most {peak} KiB")
    for text in sorted(left_out):
        print(f"not done here: {text}")
    if failed:
        print(f"FAILED: {' '.join(map(str, failed))}; again with: make chaos SEED={failed[0]}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
