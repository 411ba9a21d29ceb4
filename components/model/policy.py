"""Who may reach which service in the overlay: what the stack file says, what follows from it, and why.

A rule names prefixes of roles, so a host that comes or goes changes no firewall; a service is a file of its own on the
machines that it concerns, so another one changes none. The two walls, the serving hosts' and the hubs', are rendered
from the same services.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, collapse_addresses

SSH_PORT = 22
PING = "ping"
PROTOCOLS = ("tcp", "udp")
METRICS_PORT = 9190  # not 9100: a machine of the user's own may have an exporter already
# No name that a stack file could give to a service of its own.
METRICS_SERVICE = "vcubev_metrics"


@dataclass(frozen=True, order=True)
class Ports:
    """Ports of one protocol, both ends within."""

    protocol: str  # "tcp" or "udp"
    first: int
    last: int

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"

    def holds(self, protocol: str, port: int) -> bool:
        return protocol == self.protocol and self.first <= port <= self.last


@dataclass(frozen=True)
class Party:
    """Who asks or serves, as written, and the prefixes that this means: sorted, none within another."""

    name: str  # "role web", "host db-1", "site paris", "hubs", "any", "10.100.7.0/24"
    ipv4: tuple[IPv4Network, ...]
    ipv6: tuple[IPv6Network, ...]
    hosts: tuple[Party, ...] | None = None  # of a site, which has no prefix of its own; None for all others

    def of(self, family: str) -> tuple[IPv4Network, ...] | tuple[IPv6Network, ...]:
        """Return the prefixes of one of nftables' families: "ip" or "ip6"."""
        return self.ipv4 if family == "ip" else self.ipv6

    def holds(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in prefix for prefix in (self.ipv4 if address.version == 4 else self.ipv6))


def families(parties: Iterable[Party]) -> list[tuple[str, list[str]]]:
    """Return (family, prefixes) for each of nftables' families that parties have, no prefix within another."""
    parties = tuple(parties)
    found = [(family, [prefix for party in parties for prefix in party.of(family)]) for family in ("ip", "ip6")]
    return [(family, list(map(str, collapse_addresses(prefixes)))) for family, prefixes in found if prefixes]


@dataclass(frozen=True)
class Check:
    """How a client tells whether a server is well. Neither port: by ping alone."""

    tcp: int | None = None  # takes connections there
    http: int | None = None  # answers as expected there
    path: str = "/"
    expect: int | None = None  # the answer's status; None: any of success
    every_seconds: int = 2


@dataclass(frozen=True)
class Service:
    """Ports on serving hosts, open to some."""

    name: str
    on: Party
    ports: tuple[Ports, ...]
    sources: tuple[Party, ...]
    everywhere: bool = False  # part of every machine's packet filter, not a file of its own
    check: Check | None = None  # of one with a shared address, which each client reaches at the nearest server

    @property
    def shared(self) -> tuple[IPv4Address | IPv6Address, ...]:
        """The role's first address in each family: no member's (RFC 4291 section 2.6.1 keeps it for routers)."""
        return tuple(prefix.network_address for prefix in (*self.on.ipv4, *self.on.ipv6)) if self.check else ()

    def by_protocol(self) -> tuple[tuple[str, tuple[Ports, ...]], ...]:
        """Return (protocol, its ports) for each protocol of this service."""
        named = ((protocol, tuple(p for p in self.ports if p.protocol == protocol)) for protocol in PROTOCOLS)
        return tuple((protocol, ports) for protocol, ports in named if ports)


@dataclass(frozen=True)
class Expectation:
    """One assertion of the stack file about its own policy."""

    place: str  # "tests.0"
    source: str
    target: str
    protocol: str
    port: int
    allowed: bool


@dataclass(frozen=True)
class Policy:
    """All services. Where the stack file declares none, everything is open within the overlay."""

    enforced: bool
    services: tuple[Service, ...]
    ping: bool = True
    log: bool = True
    expectations: tuple[Expectation, ...] = ()
    metrics: Service | None = None  # who may ask every member for its metrics; None: no member has any

    @property
    def answers_pings(self) -> bool:
        """Whether hosts answer each other's pings."""
        return self.ping or not self.enforced

    def everywhere(self) -> tuple[Service, ...]:
        """Return what is part of every machine's packet filter."""
        return tuple(service for service in self.services if service.everywhere)

    def pieces(self, serving: IPv4Address | None = None) -> tuple[Service, ...]:
        """Return the services as machines get them, each a file of its own.

        Hosts of a site that a service is open to are pieces of their own: "ldap.web-3" is ldap for web-3, and one host
        more adds a piece and changes none.

        Args:
            serving: The address of a host that wants only what it serves itself.
        """
        found: list[Service] = []
        if self.metrics is not None and self.enforced and serving is None:
            found.append(self.metrics)  # through hubs; a member's own door is part of what serves them
        for service in self.services:
            if service.everywhere or (serving is not None and not service.on.holds(serving)):
                continue
            if lasting := tuple(party for party in service.sources if party.hosts is None):
                found.append(replace(service, sources=lasting))
            hosts = {host for party in service.sources for host in party.hosts or ()}
            found += [
                replace(service, name=f"{service.name}.{host.name.removeprefix('host ')}", sources=(host,))
                for host in sorted(hosts, key=lambda host: host.name)
            ]
        return tuple(found)


OPEN = Policy(False, ())


@dataclass(frozen=True)
class Verdict:
    """Whether a packet that opens a connection arrives, and by which rule."""

    allowed: bool
    reason: str


def decide(
    policy: Policy,
    source: IPv4Address | IPv6Address,
    target: IPv4Address | IPv6Address,
    protocol: str,
    port: int | None,
) -> Verdict:
    """Say whether a first packet from one overlay address to another arrives.

    Args:
        protocol: "tcp", "udp" or "icmp", the last for an echo request.
        port: The target's; None for icmp.
    """
    if policy.metrics is not None and protocol == "tcp" and port == METRICS_PORT:
        asks = next((party for party in policy.metrics.sources if party.holds(source)), None)
        reason = f"from {asks.name}" if asks else "no source of theirs, and no service has their port"
        return Verdict(asks is not None, f"metrics: {reason}")
    if not policy.enforced:
        return Verdict(True, "the stack file declares no services: all is open within the overlay")
    if protocol == "icmp":
        return Verdict(policy.ping, f"policy.ping is {str(policy.ping).lower()}")
    for service in policy.services:
        ports = next((ports for ports in service.ports if ports.holds(protocol, port or 0)), None)
        if ports is None or not service.on.holds(target):
            continue
        for party in service.sources:
            if party.holds(source):
                at = f"the nearest of {service.on.name}" if target in service.shared else service.on.name
                return Verdict(True, f"service {service.name}: {party.name} to {at}, {ports}/{protocol}")
    return Verdict(False, "no service has this source, target and port: what is not declared is dropped")
