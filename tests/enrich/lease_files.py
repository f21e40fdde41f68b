"""Lease files for tests, and reading them as the daemon does."""

from __future__ import annotations

from pathlib import Path

from netify_agent.enrich.files import FileLimits
from netify_agent.enrich.leases import NameFiles, Names

NOW = 1_700_000_000.0
LATER = int(NOW) + 3600
EARLIER = int(NOW) - 1
MAC = "02:00:00:00:00:01"

KEA4 = (
    "address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,"
    "user_context,pool_id\n"
)
KEA6 = (
    "address,duid,valid_lifetime,expire,subnet_id,pref_lifetime,lease_type,iaid,prefix_len,fqdn_fwd,"
    "fqdn_rev,hostname,hwaddr,state,user_context,hwtype,hwaddr_source,pool_id\n"
)


def read(
    tmp_path: Path, content: str | bytes, name: str = "leases", limits: FileLimits | None = None
) -> Names:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogateescape"))
    files = NameFiles(hosts=[], leases=[str(path)], limits=limits or FileLimits())
    files.refresh(NOW)
    return files.names


def dnsmasq(ip: str, name: str, mac: str = MAC, expires: int = LATER) -> str:
    return f"{expires} {mac} {ip} {name} *\n"


def isc(ip: str, *, name: str = '"laptop"', ends: str = "never", state: str = "active") -> str:
    return (
        f"lease {ip} {{\n  starts 4 2023/01/05 10:00:00;\n  ends {ends};\n  binding state {state};\n"
        f"  next binding state free;\n  rewind binding state free;\n"
        f'  hardware ethernet {MAC};\n  uid "\\001\\002}}";\n  client-hostname {name};\n}}\n'
    )


def kea(
    ip: str,
    name: str,
    *,
    mac: str = MAC,
    client: str = "",
    expire: int | str = LATER,
    lifetime: int = 3600,
    state: str = "0",
    context: str = "",
) -> str:
    return f"{ip},{mac},{client},{lifetime},{expire},1,0,0,{name},{state},{context},0\n"
