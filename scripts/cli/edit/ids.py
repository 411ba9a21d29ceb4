"""Which id comes next. An id once used is never another's: certificates that were issued for it live on for a year.

Three memories, for each has its gap: the stack file (who is there), its `vcubev:retired` (who has gone by this
program's hand), and the engine's state (who is still up, or was taken out of the file by hand since the last `up`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from components.model.addressing import MEMBER_IDS, role_ids
from components.model.entries import SITE_IDS
from components.model.errors import StackError, StackErrors
from scripts.cli.edit.document import Document

CONFIG = "config"
SITES, ROLES, RETIRED, OVERLAY = "vcubev:sites", "vcubev:roles", "vcubev:retired", "vcubev:overlay"
BLOCK_BITS = 8  # of an address: the member's id; the bits above it are the role's
Of = tuple[str, ...]  # ("sites",), ("roles",), ("hubs",) or ("hosts", ROLE)


@dataclass(frozen=True)
class State:
    """What the engine knows of a stack."""

    exists: bool = False  # whether it was ever up, or is still
    outputs: Mapping[str, Any] | None = None  # None: there are none, or nobody can read them
    problem: str = ""  # why it could not be read

    def hub_ids(self) -> set[int]:
        return {hub["id"] for hub in self._all("hubs").values()}

    def blocks(self, overlay: IPv4Network) -> set[tuple[int, int]]:
        """Return (role id, id) of all hosts that are up."""
        members = [*self._all("hosts").values(), *self._all("unmanaged").values()]
        offsets = [int(IPv4Address(m["ipv4"])) - int(overlay.network_address) for m in members]
        return {
            (offset >> BLOCK_BITS, offset % (1 << BLOCK_BITS))
            for offset in offsets
            if 0 <= offset < overlay.num_addresses
        }

    def has(self, kind: str, name: str) -> bool:
        """Tell whether a site, hub ("site/hub") or host is up; who can't be asked may be."""
        if not self.exists:
            return False
        if self.outputs is None:
            return True
        if kind == "site":
            return any(m["site"] == name for k in ("hubs", "hosts", "unmanaged") for m in self._all(k).values())
        return name in self._all("hubs" if kind == "hub" else "hosts") or name in self._all("unmanaged")

    def _all(self, kind: str) -> Mapping[str, Any]:
        return (self.outputs or {}).get(kind, {})


def used(document: Document, state: State, of: Of) -> set[int]:
    """Return all ids of a kind that have, or had, an owner."""
    found = set(document.get(CONFIG, RETIRED, *of) or ())
    sites = document.get(CONFIG, SITES) or {}
    roles = document.get(CONFIG, ROLES) or {}
    if of == ("sites",):
        found |= {_id(site) for site in sites.values()}
    elif of == ("roles",):
        found |= {_id(role) for role in roles.values()} | {role for role, _ in state.blocks(_overlay(document))}
    elif of == ("hubs",):
        found |= {_id(hub) for site in sites.values() for hub in _inner(site, "hubs")} | state.hub_ids()
    else:
        role_id = _id(roles.get(of[1]))
        found |= {_id(host) for site in sites.values() for host in _inner(site, "hosts") if host.get("role") == of[1]}
        found |= {member for role, member in state.blocks(_overlay(document)) if role == role_id}
    return {number for number in found if type(number) is int}


def next_id(document: Document, state: State, of: Of) -> int:
    """Return the id past the highest that was ever used, as far as is known.

    Raises:
        StackErrors: There is none.
    """
    taken = used(document, state, of)
    limits = {"sites": SITE_IDS, "roles": role_ids(_overlay(document))}.get(of[0], MEMBER_IDS)
    number = max(taken, default=0) + 1
    if number in limits:
        return number
    gaps = [number for number in limits if number not in taken]
    # A gap may be of one that was taken out of the file by hand, long ago: only a person can say.
    cure = f"Free as far as is known, if you are sure that nobody ever had it: --id {gaps[0]}." if gaps else ""
    if of[0] == "hosts":
        cure = f"Add another role for more of them. {cure}".strip()
    raise StackErrors([StackError(".".join(of), str(number), f"is past the last id, {limits.stop - 1}", cure)])


def _overlay(document: Document) -> IPv4Network:
    try:
        return IPv4Network((document.get(CONFIG, OVERLAY) or {}).get("ipv4"))
    except (ValueError, AttributeError):
        return IPv4Network("10.0.0.0/8")  # the file's own check tells what is wrong with it


def _inner(site: Any, kind: str) -> list[dict[str, Any]]:
    entries = (site.get(kind) if isinstance(site, dict) else None) or {}
    return [entry for entry in entries.values() if isinstance(entry, dict)]


def _id(entry: Any) -> Any:
    return entry.get("id") if isinstance(entry, dict) else None
