"""Which MAC address an IPv4 address belongs to, as the kernel knows it from ARP.

Only the kernel of this machine is asked, and by reading a file: nothing is sent. IPv6 neighbours are not in
that file.
"""

from __future__ import annotations

from netify_agent.enrich.files import lines
from netify_agent.enrich.identifiers import clean_ip, clean_mac

ARP_TABLE = "/proc/self/net/arp"  # /proc/net is not there with ProcSubset=pid, which the unit has
_COMPLETE = 0x2  # ATF_COM of linux/if_arp.h: the kernel has had an answer
_MAX_ROWS = 50_000


def arp_table(path: str) -> dict[str, str]:
    """IP address to lower-case MAC address; empty where the file cannot be read.

    The columns are those of proc(5): IP address, HW type, Flags, HW address, Mask, Device.
    """
    found: dict[str, str] = {}
    try:
        with open(path, "rb") as file:
            for line in lines(file):
                fields = line.decode("ascii", "replace").split()
                if len(fields) < 4 or not _is_complete(fields[2]):
                    continue
                ip, mac = clean_ip(fields[0]), clean_mac(fields[3])
                if ip and mac:
                    found[ip] = mac
                if len(found) >= _MAX_ROWS:
                    break
    except OSError:
        return {}
    return found


def _is_complete(flags: str) -> bool:
    try:
        return bool(int(flags, 16) & _COMPLETE)
    except ValueError:  # the head of the table
        return False
