"""`python tests/fuzz TARGET [SECONDS [FINDINGS_DIRECTORY]]`: fuzzing of one target by atheris.

What it finds interesting is kept for the next run in DIRECTORY/TARGET/corpus (by default below .run/fuzz). An
input that breaks a promise is left beside that as `crash-...`, and belongs into tests/fuzz/corpus/TARGET.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parents[1])]

import atheris  # noqa: E402

with atheris.instrument_imports(include=["netify_agent"]):
    import targets
    from api_server import a_small_network
    from support import RedisServer, short_directory


def main(name: str, seconds: str = "1200", findings: str = str(HERE.parents[1] / ".run/fuzz")) -> int:
    """libFuzzer ends the process by itself, so it gets one of its own; what was started here is ended."""
    with short_directory() as directory:
        redis = RedisServer(directory)
        if name == "api":
            redis.start()
        try:
            command = [sys.executable, __file__, "--child", name, seconds, findings, redis.url]
            return subprocess.run(command, timeout=float(seconds) + 120).returncode
        finally:
            redis.kill()


def child(name: str, seconds: str, findings: str, redis_url: str) -> None:
    if name != "api":
        fuzz(name, getattr(targets, name), seconds, findings)
    with a_small_network(redis_url) as scene:
        scene.stop()  # the fuzzer calls the application itself
        fuzz(name, targets.Web(scene), seconds, findings)


def fuzz(name: str, target: targets.Target, seconds: str, findings: str) -> None:
    place = Path(findings) / name
    grown = place / "corpus"  # the first directory is where libFuzzer keeps what it finds interesting
    grown.mkdir(parents=True, exist_ok=True)
    options = [
        f"-max_total_time={seconds}",
        "-max_len=8192",
        "-timeout=20",
        "-rss_limit_mb=1024",
        "-print_final_stats=1",
        f"-artifact_prefix={place}/",
    ]
    atheris.Setup([sys.argv[0], *options, str(grown), str(HERE / "corpus" / name)], target)
    atheris.Fuzz()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
    else:
        sys.exit(main(*sys.argv[1:]))
