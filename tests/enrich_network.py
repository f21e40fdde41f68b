"""The files, resolver and clocks that a directory reads, for tests."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from netify_agent.enrich.directory import Directory

MAC, IP = "00:22:72:01:02:03", "192.168.1.2"
OTHER, OTHER_IP = "02:00:00:00:00:07", "192.168.1.3"
NOW = 1_700_000_000.0
VENDOR = "American Micro-Fuel Device Corp."


class Network:
    """The files of a gateway, a resolver with a table, and two clocks that stand still."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 1000.0
        self.wall = NOW
        self.zone: dict[str, str] = {}
        self.asked: list[str] = []
        (folder / "oui.csv").write_text(f"Registry,Assignment,Organization Name,x\nMA-L,002272,{VENDOR},\n")
        self.put("categories.json", json.dumps({"application_tag_index": {"streaming-media": 29}}))

    def put(self, name: str, text: str) -> None:
        new = self.folder / f".{name}.new"
        new.write_text(text)
        os.replace(new, self.folder / name)

    def lease(self, name: str, *, mac: str = MAC, ip: str = IP) -> None:
        self.put("dnsmasq.leases", f"{int(NOW) + 3600} {mac} {ip} {name} *\n")

    def resolve(self, ip: str) -> str | None:
        self.asked.append(ip)
        return self.zone.get(ip)

    def directory(self, *, reverse_dns: bool = False, **options: Any) -> Directory:
        return Directory(
            vendors=str(self.folder),
            hosts=[str(self.folder / "hosts")],
            ethers=[str(self.folder / "ethers")],
            leases=[str(self.folder / "*.leases")],
            reverse_dns=reverse_dns,
            categories=str(self.folder / "categories.json"),
            resolve=self.resolve,
            clock=lambda: self.now,
            wall=lambda: self.wall,
            **options,
        )


@contextmanager
def running(directory: Directory, progress: Callable[[], None] = lambda: None) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=directory.run, args=(stop, progress))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()
