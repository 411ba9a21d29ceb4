"""Reads `services:`, `policy:` and `tests:` of a stack file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from typing import Annotated

from pydantic import Field, StrictBool, StrictStr

from components.model.addressing import HUBS_BLOCK, role_prefix_ipv4, role_prefix_ipv6
from components.model.anycast import AnycastSection, CheckEntry
from components.model.entries import Entry
from components.model.policy import (
    METRICS_PORT,
    METRICS_SERVICE,
    OPEN,
    PROTOCOLS,
    SSH_PORT,
    Expectation,
    Party,
    Policy,
    Ports,
    Service,
)
from components.model.reading import StackReader
from components.model.topology import DIRECT_TALK_PORT, HIGHEST_PORT, Overlay, Role, SiteView

PORTS = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?/(tcp|udp)")
KINDS = ("role", "host", "site")
SERVICE_KEYS = ("services", "policy", "tests", "metrics")
Place = tuple[str, ...]


class ServiceEntry(Entry):
    on: StrictStr
    ports: Annotated[list[StrictStr], Field(min_length=1)]
    sources: Annotated[list[StrictStr], Field(min_length=1, alias="from")]
    anycast: StrictBool = False
    check: CheckEntry | None = None


class MetricsEntry(Entry):
    sources: Annotated[list[StrictStr], Field(min_length=1, alias="from")]


class PolicyEntry(Entry):
    ping: StrictBool = True
    log: StrictBool = True
    ssh_from_hubs: StrictBool = True


class ExpectationEntry(Entry):
    source: Annotated[StrictStr, Field(alias="from")]
    to: StrictStr
    port: StrictStr
    allowed: StrictBool


class ServicesSection:
    """Reads what may reach what, with the help of the roles and sites that are right."""

    def __init__(
        self, reader: StackReader, overlay: Overlay, roles: Mapping[str, Role], sites: Iterable[SiteView]
    ) -> None:
        self._reader, self._overlay = reader, overlay
        sites = tuple(sites)
        hosts = [host for site in sites for host in site.hosts]
        own = {host.name: ((host.address.ipv4, 32), (host.address.ipv6, 128)) for host in hosts}
        alone = {
            name: Party(f"host {name}", (IPv4Network(ipv4),), (IPv6Network(ipv6),))
            for name, (ipv4, ipv6) in own.items()
        }
        self._parties: dict[str, dict[str, Party]] = {
            "role": {name: Party(f"role {name}", (role.ipv4,), (role.ipv6,)) for name, role in roles.items()},
            "host": alone,
            "site": {
                site.name: Party(
                    f"site {site.name}",
                    tuple(collapse_addresses(IPv4Network(host.address.ipv4) for host in site.hosts)),
                    tuple(collapse_addresses(IPv6Network(host.address.ipv6) for host in site.hosts)),
                    tuple(alone[host.name] for host in site.hosts),
                )
                for site in sites
            },
        }
        self._any = Party("any", (overlay.ipv4,), (overlay.ipv6,))

    def read(self, values: Mapping[str, object], direct: bool) -> Policy:
        """Return the policy that a stack's values declare.

        Args:
            direct: Whether hosts have tunnels of their own.
        """
        entry = self._reader.entry(PolicyEntry, values.get("policy"), "policy") or PolicyEntry()
        self._anycast = AnycastSection(self._reader, entry.ping)
        declared, metrics = values.get("services"), self._metrics(values.get("metrics"))
        if declared is None:
            if values.get("policy") is not None or values.get("tests") is not None:
                cure = "Declare services; an empty map, services: {}, closes all."
                self._reader.note(("services",), None, "is missing, without which all is open", cure)
            return replace(OPEN, metrics=metrics)
        services = [
            service
            for name, written in self._reader.section(ServiceEntry, declared, "services").items()
            if (service := self._service(name, written))
        ]
        if entry.ssh_from_hubs:
            hubs = Party(
                "hubs",
                (role_prefix_ipv4(self._overlay.ipv4, HUBS_BLOCK),),
                (role_prefix_ipv6(self._overlay.ipv6, HUBS_BLOCK),),
            )
            services.append(Service("ssh-from-hubs", self._any, (Ports("tcp", SSH_PORT, SSH_PORT),), (hubs,), True))
        for protocol, port, whose, key in self._taken(bool(metrics), direct):
            for service in services:
                if any(ports.holds(protocol, port) for ports in service.ports):
                    limit, cure = f"is the port of {whose}", f"Choose another, or take vcubev:{key} out."
                    self._reader.note(("services", service.name, "ports"), f"{port}/{protocol}", limit, cure)
        expectations = tuple(self._expectations(values.get("tests")))
        return Policy(True, tuple(services), entry.ping, entry.log, expectations, metrics)

    @staticmethod
    def _taken(metrics: bool, direct: bool) -> list[tuple[str, int, str, str]]:
        """Return (protocol, port, whose it is, the key that has it so) for ports that no service may have."""
        found = [("tcp", METRICS_PORT, "every member's metrics", "metrics")] if metrics else []
        return [*found, ("udp", DIRECT_TALK_PORT, "hosts' direct tunnels", "direct")] if direct else found

    def _metrics(self, declared: object) -> Service | None:
        """Return who may ask every member for its metrics."""
        entry = self._reader.entry(MetricsEntry, declared, "metrics") if declared is not None else None
        if entry is None:
            return None
        # No sites: a host more in one would change every member's packet filter.
        named = [
            self._party(text, ("metrics", "from", str(n)), ("role", "host")) for n, text in enumerate(entry.sources)
        ]
        sources = tuple(party for party in named if party is not None)
        return Service(METRICS_SERVICE, self._any, (Ports("tcp", METRICS_PORT, METRICS_PORT),), sources)

    def _service(self, name: str, entry: ServiceEntry) -> Service | None:
        place = ("services", name)
        on = self._party(entry.on, (*place, "on"), ("role", "host"))
        ports = [self._ports(text, (*place, "ports", str(at))) for at, text in enumerate(entry.ports)]
        sources = [self._party(text, (*place, "from", str(at)), KINDS) for at, text in enumerate(entry.sources)]
        if on is None or None in ports or None in sources:
            return None
        check = self._anycast.read(name, entry.check, on, ports) if entry.anycast else None
        if entry.check is not None and not entry.anycast:
            self._reader.note((*place, "check"), None, "is of a shared address only", "Add anycast: true.")
        return Service(name, on, tuple(sorted(ports)), tuple(sources), check=check)

    def _party(self, text: str, place: Place, kinds: tuple[str, ...]) -> Party | None:
        """Return who is meant: any, a prefix, "role:web" or just "web" where only one thing has the name."""
        if text == "any":
            return self._any
        if "/" in text or re.fullmatch(r"[0-9.]+|[0-9a-f]*:[0-9a-f:]+", text):
            return self._prefix(text, place)
        kind, colon, name = text.rpartition(":")
        found = [self._parties[k][name] for k in kinds if (not colon or k == kind) and name in self._parties[k]]
        if len(found) == 1:
            return found[0]
        if found:
            cure = f"Say which: {' or '.join(party.name.replace(' ', ':') for party in found)}."
            self._reader.note(place, text, "names several things", cure)
        else:
            known = "; ".join(f"{k}s: {', '.join(sorted(self._parties[k])) or 'none'}" for k in kinds)
            self._reader.note(place, text, f"is no {' or '.join(kinds)} of this stack", f"There are {known}.")
        return None

    def _prefix(self, text: str, place: Place) -> Party | None:
        try:
            prefix = ip_network(text)
        except ValueError as error:
            self._reader.note(place, text, f"is not a prefix: {error}", "Write it as 10.100.1.0/24.")
            return None
        whole = self._overlay.ipv4 if prefix.version == 4 else self._overlay.ipv6
        if not prefix.subnet_of(whole):  # type: ignore[arg-type]
            limit = f"lies outside vcubev:overlay {whole}: nothing comes from there through a tunnel"
            self._reader.note(place, text, limit, "Write a prefix within the overlay.")
            return None
        return Party(text, (prefix,) if prefix.version == 4 else (), (prefix,) if prefix.version == 6 else ())

    def _ports(self, text: str, place: Place) -> Ports | None:
        match = PORTS.fullmatch(text)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if 1 <= first <= last <= HIGHEST_PORT:
            return Ports(match[3], first, last)
        cure = f"Write 389/tcp or 6000-6010/udp; protocols: {', '.join(PROTOCOLS)}."
        self._reader.note(place, text, f"is not a port or a range of ports within 1-{HIGHEST_PORT}", cure)
        return None

    def _expectations(self, declared: object) -> list[Expectation]:
        if declared is None:
            return []
        if not isinstance(declared, list):
            self._reader.note(("tests",), declared, "is not a list", "Write one entry for each assertion.")
            return []
        found = []
        for at, written in enumerate(declared):
            place = ("tests", str(at))
            entry = self._reader.entry(ExpectationEntry, written, *place)
            if entry is None:
                continue
            ports = None if entry.port == "icmp" else self._ports(entry.port, (*place, "port"))
            for key, text in (("from", entry.source), ("to", entry.to)):
                if text not in self._parties["host"]:
                    cure = f"Hosts: {', '.join(sorted(self._parties['host'])) or 'none'}."
                    self._reader.note((*place, key), text, "is no host of this stack", cure)
            protocol, port = (ports.protocol, ports.first) if ports else ("icmp", 0)
            found.append(Expectation(".".join(place), entry.source, entry.to, protocol, port, entry.allowed))
        return found
