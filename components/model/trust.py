"""Reads `keys:` and `revoked:` of a stack file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from components.model.entries import NAME_PATTERN, KeysEntry
from components.model.keys import Generations, Keys
from components.model.reading import StackReader
from components.model.topology import SiteView

TRUST_KEYS = ("keys", "revoked")
NAME = NAME_PATTERN.strip("^$")
HOST, HUB, SERIAL = re.compile(NAME), re.compile(rf"({NAME})/({NAME})"), re.compile(r"[1-9]\d{0,48}")
MOST_GENERATIONS = 2  # one takes over from the other


def read_keys(reader: StackReader, declared: object, sites: Iterable[SiteView], written_sites: object) -> Keys:
    """Return which generations of keys count.

    Args:
        written_sites: All that stands under `sites:`. A host that has a mistake of its own is one all the same.
    """
    entry = reader.entry(KeysEntry, declared, "keys")
    if entry is None:
        return Keys()
    sites = list(sites)
    hosts = {host.name: host.common_name for site in sites for host in site.hosts}
    hubs = {hub.key: hub.common_name for site in sites for hub in site.hubs}
    members = {}
    for kind, written, known in (("hosts", entry.hosts, hosts), ("hubs", entry.hubs, hubs)):
        for name, generations in sorted(written.items()):
            place = ("keys", kind, name)
            members[known.get(name, name)] = _generations(reader, generations, place)
            if name not in known and name not in _written(written_sites, kind):
                reader.note(place, None, f"is none of the stack's {kind}", "Take it out.")
    authority = _generations(reader, entry.authority, ("keys", "authority"))
    return Keys(authority, _generations(reader, entry.login, ("keys", "login")), members)


def _written(sites: object, kind: str) -> set[str]:
    found = set()
    for site, entry in sites.items() if isinstance(sites, Mapping) else ():
        members = entry.get(kind) if isinstance(entry, Mapping) else None
        names = map(str, members) if isinstance(members, Mapping) else ()
        found |= {f"{site}/{name}" if kind == "hubs" else name for name in names}
    return found


def _generations(reader: StackReader, written: list[int], place: tuple[str, ...]) -> Generations:
    if not written or len(set(written)) < len(written) or len(written) > MOST_GENERATIONS or min(written) < 1:
        limit = "is no list of generations: the one in use first, then another that is accepted, counted from 1"
        reader.note(place, written, limit, "Write [1], or let scripts/rotate write it.")
    return tuple(written)


def read_revoked(reader: StackReader, declared: object) -> frozenset[str]:
    """Return the common names and serial numbers that are to be revoked."""
    if declared is None:
        return frozenset()
    if not isinstance(declared, list):
        reader.note(("revoked",), declared, "is not a list", "Write it as [web-1, oregon/a].")
        return frozenset()
    revoked = set()
    for entry in declared:
        text = entry if isinstance(entry, str) else ""
        if SERIAL.fullmatch(text):
            revoked.add(text)
        elif hub := HUB.fullmatch(text):
            revoked.add(f"hub.{hub[1]}.{hub[3]}")
        elif HOST.fullmatch(text):
            revoked.add(f"host.{text}")
        else:
            cure = "Write web-1, oregon/a, or a certificate's serial number as text, decimal and in quotes."
            reader.note(("revoked",), entry, "is no host, no SITE/HUB and no serial number", cure)
    return frozenset(revoked)
