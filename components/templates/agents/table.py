"""Which names go with which addresses: what this hub saw in certificates, and what others tell.

What another hub tells counts for hosts only that are not connected here. It can be taken for right where that hub is:
one that was taken over could pose as any host that is not here, by its route as well as by its name.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from plan import place

LABEL = re.compile("[a-z]([a-z0-9-]{0,18}[a-z0-9])?")  # as the stack file's names
BELOW_SITE, ALONE = 2, 1  # labels of a name, less the domain's
LONGEST_CERTIFICATE_TEXT = 4096
LONGEST_MESSAGE = 1200  # in bytes: one packet, whatever path it takes
MOST_TOLD = 4000  # hosts that one hub can have: by UDP and by TCP as many as OpenVPN lets in
TOLD_SECONDS = 35  # what a hub has told counts for so long: three of its turns, and a little more


@dataclass(frozen=True, order=True)
class Named:
    """One host, by what its certificate says."""

    host: str
    site: str
    role: str
    short: bool  # it has a name that is not below its site's; not if a role has this one

    @property
    def own(self) -> tuple[str, ...]:
        """Names that are this host's alone, the one for its address first."""
        below_site = f"{self.host}.{self.site}"
        return (below_site, self.host) if self.short else (below_site,)


def of_certificate(text: str, domain: str) -> Named:
    """Read a certificate's alternative names as OpenVPN tells them: "DNS:web-1.paris.DOMAIN, ..., IP Address:10.1.1.1".

    Raises:
        ValueError: They are no host's below this domain.
    """
    if len(text) > LONGEST_CERTIFICATE_TEXT:
        raise ValueError("they are too long")
    names = [part.removeprefix("DNS:") for part in text.strip().split(", ") if part.startswith("DNS:")]
    labels = [name.removesuffix(f".{domain}").split(".") for name in names if name.endswith(f".{domain}")]
    below_site = [parts for parts in labels if len(parts) == BELOW_SITE]
    alone = [parts[0] for parts in labels if len(parts) == ALONE]
    if len(below_site) != 1 or len(alone) not in (1, 2) or len(labels) != len(names):
        raise ValueError("they are not one below a site, and one or two others")
    host, site = below_site[0]
    roles = alone if len(alone) == 1 else [name for name in alone if name != host]
    if len(roles) != 1:
        raise ValueError("none of them is the host's own")
    return checked(host, site, roles[0], len(alone) > 1)


def checked(host: object, site: object, role: object, short: object) -> Named:
    """Return a host that may be made of these.

    Raises:
        ValueError: Something in it is not what it should be: it becomes part of the names' daemon's files.
    """
    labels = (host, site, role)
    if not all(isinstance(label, str) and LABEL.fullmatch(label) for label in labels) or type(short) is not bool:
        raise ValueError("it is no host")
    if short and role == host:
        raise ValueError("a role's name is no host's")
    return Named(host, site, role, short)


def member(text: str, overlay4: IPv4Network) -> IPv4Address:
    """Return a host's address.

    Raises:
        ValueError: It is none.
    """
    address = IPv4Address(text)
    role, number = place(address, overlay4)
    if address not in overlay4 or role == 0 or not 1 <= number <= 254:
        raise ValueError("it is no host's address")
    return address


def messages(hosts: Mapping[IPv4Address, Named], ask: bool = False) -> list[bytes]:
    """Return what tells another hub of these hosts, in parts that fit.

    Args:
        ask: Whether it should tell its own in return.
    """
    parts: list[dict[str, list]] = [{}]
    length = 0
    for address, named in hosts.items():
        entry = [named.host, named.site, named.role, named.short]
        needed = len(json.dumps({str(address): entry}))
        if length + needed > LONGEST_MESSAGE - 50:  # what stands around the hosts
            parts.append({})
            length = 0
        parts[-1][str(address)] = entry
        length += needed
    return [json.dumps({"ask": ask and not at, "hosts": part}).encode() for at, part in enumerate(parts)]


def told(message: bytes, overlay4: IPv4Network) -> tuple[bool, dict[IPv4Address, Named]]:
    """Read what another hub tells: (whether it asks, its hosts).

    Raises:
        ValueError: It is not what a hub says; then nothing of it counts.
    """
    if len(message) > LONGEST_MESSAGE:
        raise ValueError("it is too long")
    try:
        said = json.loads(message)
        ask, hosts = said["ask"], said["hosts"]
        if type(ask) is not bool or not isinstance(hosts, dict) or len(said) != 2:
            raise ValueError("it is no message")
        return ask, {member(text, overlay4): checked(*entry) for text, entry in hosts.items()}
    except (TypeError, KeyError, RecursionError) as problem:
        raise ValueError(f"it is no message: {problem}") from None


class Table:
    """What is known on one hub."""

    def __init__(self) -> None:
        self.own: dict[IPv4Address, Named] = {}
        self._told: dict[IPv4Address, dict[IPv4Address, tuple[Named, float]]] = {}

    def hear(self, now: float, hub: IPv4Address, hosts: Mapping[IPv4Address, Named]) -> None:
        """Take what a hub tells of its own hosts."""
        known = self._told.setdefault(hub, {})
        for address, named in hosts.items():
            if address in known or len(known) < MOST_TOLD:
                known[address] = (named, now + TOLD_SECONDS)

    def forget(self, now: float) -> None:
        """Drop what nobody has told again."""
        for hub, known in list(self._told.items()):
            self._told[hub] = {address: one for address, one in known.items() if one[1] > now}
            if not self._told[hub]:
                del self._told[hub]

    def known(self, live: Iterable[IPv4Address]) -> dict[IPv4Address, tuple[Named, ...]]:
        """Return the hosts of these addresses. While a host is renamed, hubs know it by its old name and by the new."""
        taken = {name: address for address, named in self.own.items() for name in named.own}
        found = {}
        for address in live:
            if address in self.own:
                found[address] = (self.own[address],)
                continue
            others = {known[address][0] for known in self._told.values() if address in known}
            # A name of a host that is connected here is at no other address, whoever says so.
            others = {named for named in others if not any(name in taken for name in (*named.own, named.role))}
            if others:
                found[address] = tuple(sorted(others))
        return found


def lines(addresses: Iterable[object], hosts: Iterable[Named], domain: str) -> str:
    """Return a hosts file (hosts(5)) of one host. The first line with an address says what its name is."""
    written = []
    for address in addresses:
        for named in hosts:
            written.append(f"{address} {' '.join(f'{name}.{domain}' for name in named.own)}")
            written.append(f"{address} {named.role}.{domain}")
    return "".join(f"{line}\n" for line in written)
