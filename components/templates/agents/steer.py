"""Lets shared addresses lead to the servers that the agent (nearest.py) chose; started for each change.

What there is to lead stands in root's files, and of the agent's word only members' numbers count: so a service leads
to hosts of its role, whatever the agent says. New connections only: the kernel keeps the others with their server.
"""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
from ipaddress import ip_address

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from flows import Flows

SERVICES = pathlib.Path("/etc/vcubev/nearest")
CHOSEN = pathlib.Path("/run/vcubev-nearest/chosen.json")
LONGEST_LINE = 65536
MEMBERS = range(1, 255)
# One transaction: no packet sees half of it. The chains stay, and with them what the kernel knows of connections. The
# second comes after the first: what is still for a shared address there has no server.
BEGIN = """table inet vcubev_nearest {
  chain nearest { type nat hook output priority -100; policy accept; }
  chain refused { type filter hook output priority 10; policy accept; }
}
flush table inet vcubev_nearest
"""
REJECTED = {
    ("ip", "tcp"): "reject with tcp reset",
    ("ip6", "tcp"): "reject with tcp reset",
    ("ip", "udp"): "reject with icmp port-unreachable",
    ("ip6", "udp"): "reject with icmpv6 port-unreachable",
}


def address_of(service: dict, family: str, member: int) -> str:
    """Return a member's address, from the role's."""
    return str(ip_address(service["shared"][family]) + member)


def members(numbers: object) -> list[int]:
    """Return those that are members'."""
    found = numbers if isinstance(numbers, list) else []
    return [number for number in found if type(number) is int and number in MEMBERS]


def ruleset(services: dict[str, dict], chosen: dict[str, dict]) -> str:
    """Return the whole table for nft.

    Args:
        services: Name -> its file.
        chosen: Name -> {"server": 3, "lost": [2]}; a service that is not there, or with no server, is refused.
    """
    lines = [BEGIN.rstrip()]
    refused = {}
    for name, service in sorted(services.items()):
        server = members([chosen.get(name, {}).get("server")])
        for family, shared in sorted(service["shared"].items()):
            for protocol, ports in sorted(service["ports"].items()):
                match = f"{family} daddr {shared} {protocol} dport {{ {', '.join(ports)} }}"
                for member in server:
                    to = address_of(service, family, member)
                    lines.append(
                        f'add rule inet vcubev_nearest nearest {match} dnat {family} to {to} comment "service {name}"'
                    )
            for protocol in ("tcp", "udp"):
                match = f"{family} daddr {shared} meta l4proto {protocol}"
                refused[match] = f"add rule inet vcubev_nearest refused {match} {REJECTED[family, protocol]}"
    return "\n".join([*lines, *refused.values()]) + "\n"


def gone(services: dict[str, dict], chosen: dict[str, dict]) -> set[tuple[str, str]]:
    """Return (shared address, server) of flows of UDP that lead nowhere."""
    return {
        (shared, address_of(service, family, member))
        for name, service in services.items()
        if "udp" in service["ports"]
        for family, shared in service["shared"].items()
        for member in members(chosen.get(name, {}).get("lost"))
    }


def read_chosen() -> dict[str, dict]:
    """Return what the agent chose; {} if it is nothing that makes sense."""
    try:
        chosen = json.loads(CHOSEN.read_text())
        return {name: one for name, one in chosen.items() if isinstance(one, dict)}
    except (OSError, ValueError, AttributeError):
        return {}


def main() -> None:
    # All that was asked until now; what comes later starts this again.
    with contextlib.suppress(BlockingIOError):
        os.read(sys.stdin.fileno(), LONGEST_LINE)
    services = {file.stem: json.loads(file.read_text()) for file in sorted(SERVICES.glob("*.json"))}
    chosen = read_chosen()
    subprocess.run(["nft", "-f", "-"], input=ruleset(services, chosen), text=True, check=True)
    if wanted := gone(services, chosen):
        print(f"{Flows().forget(wanted)} flows forgotten", flush=True)


if __name__ == "__main__":
    main()
