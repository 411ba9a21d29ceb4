"""What a stack's policy says of one packet, and whether it keeps what its tests expect."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from components.model.errors import StackError, StackErrors
from components.model.policy import PROTOCOLS, Verdict, decide
from components.model.topology import Topology

PORT = re.compile(r"(\d{1,5})/(tcp|udp)")


def explain(topology: Topology, source: str, target: str, port: str) -> Verdict:
    """Say whether the first packet from one member to another arrives, and by which rule.

    Args:
        source: A host, a hub ("site/hub") or an address in the overlay; `target` likewise, or a role with a service at
            the nearest server.
        port: "389/tcp", "53/udp" or "icmp".

    Raises:
        StackErrors: One of them is none.
    """
    errors: list[StackError] = []
    ends = [_address(topology, text, errors) for text in (source, target)]
    match = PORT.fullmatch(port)
    if not match and port != "icmp":
        cure = f"Write 389/tcp, 53/udp or icmp; protocols: {', '.join(PROTOCOLS)}."
        errors.append(StackError("policy", repr(port), "is no port", cure))
    if errors or None in ends:
        raise StackErrors(errors)
    return decide(topology.policy, *ends, *((match[2], int(match[1])) if match else ("icmp", None)))


@dataclass(frozen=True)
class Result:
    """One assertion of the stack file, and what the policy says."""

    place: str
    told: str  # "web-1 to ldap-1, 389/tcp"
    expected: bool
    verdict: Verdict

    @property
    def kept(self) -> bool:
        return self.verdict.allowed is self.expected


def check(topology: Topology) -> list[Result]:
    """Try all assertions of a stack file, for IPv4 and IPv6."""
    hosts = {host.name: host.address for host in topology.hosts}
    results = []
    for wanted in topology.policy.expectations:
        for family in ("ipv4", "ipv6"):
            ends = (getattr(hosts[name], family) for name in (wanted.source, wanted.target))
            verdict = decide(topology.policy, *ends, wanted.protocol, wanted.port)
            port = "icmp" if wanted.protocol == "icmp" else f"{wanted.port}/{wanted.protocol}"
            told = f"{wanted.source} to {wanted.target}, {port}, {family.replace('ip', 'IP')}"
            results.append(Result(wanted.place, told, wanted.allowed, verdict))
    return results


def _address(topology: Topology, text: str, errors: list[StackError]) -> IPv4Address | IPv6Address | None:
    # A host of a role's name is meant before the role.
    members = {s.on.name.removeprefix("role "): s.shared[0] for s in topology.policy.services if s.shared}
    members |= {host.name: host.address.ipv4 for host in topology.hosts}
    members |= {hub.key: hub.address.ipv4 for hub in topology.hubs}
    if text in members:
        return members[text]
    try:
        return ip_address(text)
    except ValueError:
        cure = f"Members: {', '.join(sorted(members))}."
        errors.append(StackError("policy", repr(text), "is no member and no address", cure))
        return None
