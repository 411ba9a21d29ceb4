"""What a stack's outputs say about its machines."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

WITNESSES = 9  # hosts beside those that a command is about


@dataclass(frozen=True)
class Access:
    """How SSH reaches a machine on the underlay."""

    address: str
    host_key: str  # "ssh-ed25519 AAAA..."
    gateway: str  # key of the hub to go through; "" for a public machine
    port: int = 22


@dataclass(frozen=True)
class Member:
    """A hub or a host of the overlay."""

    name: str  # a hub's is "site/hub"
    site: str
    ipv4: str
    ipv6: str
    ssh: Access
    role: str = ""  # "" for a hub
    private: bool = False


@dataclass(frozen=True)
class Inventory:
    """All machines of a stack, and the login to them."""

    hubs: dict[str, Member]
    hosts: dict[str, Member]
    user: str
    private_key: str
    lives: Mapping[str, Any] = field(default_factory=dict)  # the stack's output `certificates`
    refused: tuple[str, ...] = ()  # hosts that no hub lets in: their certificates are revoked
    pings: bool = True  # whether hosts answer each other's pings: `policy: {ping: false}` forbids it

    @classmethod
    def of(cls, outputs: Mapping[str, Any]) -> Inventory:
        """Read a stack's outputs, as `Mesh.stack_outputs` makes them."""
        hubs = {name: _member(name, fields) for name, fields in outputs["hubs"].items()}
        lives = outputs.get("certificates", {})
        refused = {name.removeprefix("host.") for name in lives.get("refused", ())} & set(outputs["hosts"])
        hosts = {name: _member(name, fields) for name, fields in outputs["hosts"].items() if name not in refused}
        login = outputs["login"]
        return cls(
            hubs, hosts, login["user"], login["private_key"], lives, tuple(sorted(refused)), outputs.get("pings", True)
        )

    def around(self, hosts: Collection[str]) -> Inventory:
        """Return it with these hosts and the first other one of each site, of as many as a screen holds."""
        others: dict[str, str] = {}
        for host in sorted(self.hosts.values(), key=lambda host: host.name):
            if host.name not in hosts:
                others.setdefault(host.site, host.name)
        kept = {*hosts, *list(others.values())[:WITNESSES]}
        return replace(self, hosts={name: host for name, host in self.hosts.items() if name in kept})


def _member(name: str, fields: Mapping[str, Any]) -> Member:
    ssh = Access(**fields["ssh"])
    rest = {key: fields[key] for key in ("site", "ipv4", "ipv6", "role", "private") if key in fields}
    return Member(name, ssh=ssh, **rest)
