"""Reads what the stack file says of services with a shared address: ADR 12."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, StrictInt, StrictStr

from components.model.entries import Entry, Port
from components.model.policy import Check, Party, Ports
from components.model.reading import StackReader

EVERY_SECONDS = range(1, 3601)
STATUSES = range(100, 600)
# It becomes part of a request's first line: no spaces, no line ends.
PATH_PATTERN = r"^/[!-~]{0,500}$"


class CheckEntry(Entry):
    tcp: Port | None = None
    http: Port | None = None
    path: Annotated[StrictStr, Field(pattern=PATH_PATTERN, description="a path such as /healthz")] | None = None
    expect: Annotated[StrictInt, Field(ge=STATUSES.start, lt=STATUSES.stop)] | None = None
    every_seconds: Annotated[StrictInt, Field(ge=EVERY_SECONDS.start, lt=EVERY_SECONDS.stop)] = 2


class AnycastSection:
    """Reads services with a shared address one by one, and keeps them apart."""

    def __init__(self, reader: StackReader, ping: bool) -> None:
        self._reader, self._ping = reader, ping
        self._served: dict[str, list[tuple[str, Ports]]] = {}  # role -> ports of its shared address, and whose

    def read(self, name: str, entry: CheckEntry | None, on: Party, ports: Sequence[Ports]) -> Check | None:
        """Return how servers of a service are checked; None means that its mistakes are noted."""
        place = ("services", name)
        if not on.name.startswith("role "):
            limit = "has no shared address: a role has one, and the nearest of its hosts answers there"
            self._reader.note((*place, "on"), on.name, limit, "Name a role, or take anycast: true out.")
            return None
        self._keep_apart(name, on, ports)
        tcp = [one for one in ports if one.protocol == "tcp"]
        if entry is None:
            return self._by_itself(name, tcp)
        if (entry.tcp is None) == (entry.http is None):
            cure = "Write check: {tcp: 389}, or check: {http: 8080, path: /healthz}."
            self._reader.note((*place, "check"), None, "has one of tcp and http", cure)
            return None
        if entry.http is None and (entry.path, entry.expect) != (None, None):
            cure = "Write http: in the place of tcp:, or take them out."
            self._reader.note((*place, "check"), None, "has path or expect, which are of http", cure)
        key, port = ("tcp", entry.tcp) if entry.http is None else ("http", entry.http)
        if not any(one.holds("tcp", port) for one in tcp):
            limit = "is none of this service's ports: those who use it could not check there"
            self._reader.note((*place, "check", key), port, limit, f"Add {port}/tcp to its ports, or check another.")
        return Check(entry.tcp, entry.http, entry.path or "/", entry.expect, entry.every_seconds)

    def _by_itself(self, name: str, tcp: Sequence[Ports]) -> Check | None:
        if tcp:
            return Check(tcp=tcp[0].first)
        if not self._ping:
            limit = "is missing: with policy.ping false and no port of TCP, nothing tells whether a server lives"
            cure = "Add a port of TCP and a check: {tcp: PORT}, or let policy.ping be true."
            self._reader.note(("services", name, "check"), None, limit, cure)
            return None
        return Check()

    def _keep_apart(self, name: str, on: Party, ports: Sequence[Ports]) -> None:
        served = self._served.setdefault(on.name, [])
        for at, one in enumerate(ports):
            for other, taken in served:
                if one.protocol == taken.protocol and one.first <= taken.last and taken.first <= one.last:
                    limit = f"is taken at the shared address of {on.name}: vcubev:services.{other} has {taken}"
                    cure = "Choose other ports, or take anycast: true out of one of the two."
                    self._reader.note(("services", name, "ports", str(at)), f"{one}/{one.protocol}", limit, cure)
        served += [(name, one) for one in ports]
