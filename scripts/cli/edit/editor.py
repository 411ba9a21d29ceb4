"""Changes to a stack file as people ask for them. Nothing is written here: each returns what `up` will then do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from components.model.errors import StackError, StackErrors
from scripts.cli.edit.document import Document
from scripts.cli.edit.ids import CONFIG, RETIRED, ROLES, SITES, Of, State, next_id

SERVICES, TESTS, METRICS = "vcubev:services", "vcubev:tests", "vcubev:metrics"
KEYS = "vcubev:keys"  # which generation of its key a member uses, by name


class Editor:
    """One stack file's text, and what the engine knows of the stack."""

    def __init__(self, text: str, state: State) -> None:
        self.document, self.state = Document(text), state
        self.notes: list[str] = []  # for the user: what follows from the change
        self.given: dict[str, int] = {}  # what got which id
        self.added_host = ""  # a host of which no other machine hears

    # add

    def add_role(self, name: str, number: int | None = None) -> None:
        self._absent(name, CONFIG, ROLES)
        self._put((CONFIG, ROLES, name), {"id": self._number(name, ("roles",), number)})

    def add_site(self, name: str, cloud: str, region: str | None, hubs: Sequence[dict[str, Any]], **site: Any) -> None:
        """Add a site with its hubs.

        Args:
            hubs: For each what it has beside its id; they are named a, b, c.
            site: Other keys of a site; None and {} are left out.
        """
        self._absent(name, CONFIG, SITES)
        first = next_id(self.document, self.state, ("hubs",)) if hubs else 0
        entry: dict[str, Any] = {"id": self._number(name, ("sites",), site.pop("id", None)), "cloud": cloud}
        entry |= {key: value for key, value in {"region": region, **site}.items() if value}
        if hubs:
            entry["hubs"] = {}
        for at, hub in enumerate(hubs):
            entry["hubs"][chr(ord("a") + at)] = {"id": first + at, **hub}
            self.given[f"{name}/{chr(ord('a') + at)}"] = first + at
        self._put((CONFIG, SITES, name), entry)

    def add_hub(self, site: str, name: str, number: int | None = None, **hub: Any) -> None:
        self._site(site)
        self._absent(name, CONFIG, SITES, site, "hubs")
        entry = {"id": self._number(f"{site}/{name}", ("hubs",), number)}
        self._put(
            (CONFIG, SITES, site, "hubs", name), entry | {key: value for key, value in hub.items() if value is not None}
        )

    def add_host(self, name: str, site: str, role: str, number: int | None = None, **host: Any) -> None:
        self._site(site)
        self._absent(name, CONFIG, SITES, site, "hosts")
        entry = {"role": role, "id": self._number(name, ("hosts", role), number)}
        given = {key: value for key, value in host.items() if value is not None and value is not False}
        self._put((CONFIG, SITES, site, "hosts", name), entry | given)
        self.added_host = name
        self.notes.append("up makes the new host and touches nothing that is there.")

    def add_service(self, name: str, on: str, ports: list[str], sources: list[str]) -> None:
        self._absent(name, CONFIG, SERVICES)
        if self.document.get(CONFIG, SERVICES) is None:
            told = (
                "This is the stack's first service: until now all was open within the overlay, and from the next up on"
            )
            self.notes.append(f"{told} all that no service declares is dropped.")
        self._put((CONFIG, SERVICES, name), {"on": on, "ports": ports, "from": sources})

    # remove

    def remove_role(self, name: str) -> None:
        self._retire(("roles",), self._entry("role", CONFIG, ROLES, name).get("id"))
        if self.document.get(CONFIG, RETIRED, "hosts", name) is not None:
            # With the role's id its whole block of addresses is nobody's any more.
            self.document.drop((CONFIG, RETIRED, "hosts", name))
        self.document.drop((CONFIG, ROLES, name))

    def remove_site(self, name: str) -> None:
        site = self._site(name)
        hosts, hubs = site.get("hosts") or {}, site.get("hubs") or {}
        for host in hosts.values():
            self._retire(("hosts", host.get("role")), host.get("id"))
        for hub in hubs.values():
            self._retire(("hubs",), hub.get("id"))
        self._retire(("sites",), site.get("id"))
        self.document.drop((CONFIG, SITES, name))
        for host in hosts:
            self._drop_keys("hosts", host)
        for hub in hubs:
            self._drop_keys("hubs", f"{name}/{hub}")
        if self.state.has("site", name):
            gone = ", ".join([*(f"hub {name}/{hub}" for hub in hubs), *(f"host {host}" for host in hosts)])
            self.notes.append(f"up deletes with their disks: {gone}.")

    def remove_hub(self, key: str) -> None:
        site, _, name = key.partition("/")
        self._site(site)
        self._retire(("hubs",), self._entry("hub", CONFIG, SITES, site, "hubs", name).get("id"))
        self.document.drop((CONFIG, SITES, site, "hubs", name))
        self._drop_keys("hubs", key)
        if self.state.has("hub", key):
            self.notes.append(f"up deletes the hub. Let its hosts leave before, with nothing lost: vcubev drain {key}")

    def remove_host(self, name: str) -> None:
        site = self._site_of(name)
        host = self.document.get(CONFIG, SITES, site, "hosts", name)
        self._retire(("hosts", host.get("role")), host.get("id"))
        self.document.drop((CONFIG, SITES, site, "hosts", name))
        self._drop_keys("hosts", name)
        if self.state.has("host", name):
            self.notes.append(f"up deletes {name}'s machine with its disk.")

    def remove_service(self, name: str) -> None:
        self._entry("service", CONFIG, SERVICES, name)
        self.document.drop((CONFIG, SERVICES, name))
        if not self.document.get(CONFIG, SERVICES):
            told = "No service is left, and an empty map closes all. To open all within the overlay, take out"
            self.notes.append(f"{told} vcubev:services itself.")

    # move, rename

    def move_host(self, name: str, site: str) -> None:
        """Put a host into another site. Its address and key stay; its machine can't."""
        self._site(site)
        source = self._site_of(name)
        if source == site:
            raise _wrong(f"sites.{site}.hosts.{name}", "", "is there already", "Name another site.")
        here = (CONFIG, SITES, source, "hosts", name)
        if self.document.get(*here, "zone") is not None:
            self.document.drop((*here, "zone"))
            self.notes.append("Its zone was one of the other site's: it is left to its id now.")
        self.document.move(here, (CONFIG, SITES, site, "hosts", name))
        if self.state.has("host", name):
            told = f"up makes {name} anew at {site}, with its virtual address and key, and gives it a name there"
            self.notes.append(f"{told}, and deletes the machine at {source} WITH ITS DISK: save what is on it before.")

    def rename_role(self, old: str, new: str) -> None:
        self._entry("role", CONFIG, ROLES, old)
        self._absent(new, CONFIG, ROLES)
        self.document.rekey((CONFIG, ROLES, old), new)
        for site, entry in (self.document.get(CONFIG, SITES) or {}).items():
            for host, written in (entry.get("hosts") or {}).items():
                if written.get("role") == old:
                    self.document.replace((CONFIG, SITES, site, "hosts", host, "role"), new)
        if self.document.get(CONFIG, RETIRED, "hosts", old) is not None:
            self.document.rekey((CONFIG, RETIRED, "hosts", old), new)
        self._rename_in_services("role", old, new)
        self.notes.append("Addresses follow from the role's id, which stays: no machine is made anew.")

    def rename_host(self, old: str, new: str) -> None:
        site = self._site_of(old)
        here = (CONFIG, SITES, site, "hosts")
        self._absent(new, *here)
        former = [name for name in (self.document.get(*here, old, "formerly") or []) if name != new]
        self.document.rekey((*here, old), new)
        if self.document.get(*here, new, "formerly") is not None:
            self.document.drop((*here, new, "formerly"))
        if self.state.has("host", old):
            former = [old, *former]
            told = (
                "up keeps machine, address and key (`formerly` leads the engine to them) and changes the certificate's"
            )
            self.notes.append(f"{told} name: its tunnels are renewed one after the other. Its own hostname stays.")
        if former:
            self.document.put((*here, new, "formerly"), former)
        if self.document.get(CONFIG, KEYS, "hosts", old) is not None:
            self.document.rekey((CONFIG, KEYS, "hosts", old), new)
        self._rename_in_services("host", old, new)
        for at, test in enumerate(self.document.get(CONFIG, TESTS) or []):
            for key in ("from", "to"):
                if test.get(key) == old:
                    self.document.replace((CONFIG, TESTS, at, key), new)

    def rename_site(self, old: str, new: str) -> None:
        """Only what is not up yet: a hub's certificate bears its site's name, by which hosts know it."""
        self._site(old)
        self._absent(new, CONFIG, SITES)
        if self.state.has("site", old):
            unknown = "may be up (the stack's state cannot be read)" if self.state.outputs is None else "is up"
            limit = f"{unknown}, and then it keeps its name: its hubs' certificates bear it, and hosts that still"
            cure = f"Add a site {new}, move the hosts there one by one, then remove {old}."
            raise _wrong(f"sites.{old}", "", f"{limit} know the old one would refuse those hubs", cure)
        self.document.rekey((CONFIG, SITES, old), new)
        for site, entry in self.document.get(CONFIG, SITES).items():
            if entry.get("hubs_of") == old:
                self.document.replace((CONFIG, SITES, site, "hubs_of"), new)
        self._rename_in_services("site", old, new)

    # What they have in common

    def _put(self, path: tuple[str, ...], entry: dict[str, Any]) -> None:
        self.document.put(path, entry)

    def _number(self, name: str, of: Of, number: int | None) -> int:
        self.given[name] = next_id(self.document, self.state, of) if number is None else number
        return self.given[name]

    def _retire(self, of: Of, number: Any) -> None:
        """Remember an id, unless the stack was never up: then nobody has a certificate for it."""
        if self.state.exists and type(number) is int and number not in (self.document.get(CONFIG, RETIRED, *of) or ()):
            self.document.append((CONFIG, RETIRED, *of), number)

    def _drop_keys(self, kind: str, name: str) -> None:
        if self.document.get(CONFIG, KEYS, kind, name) is not None:
            self.document.drop((CONFIG, KEYS, kind, name))

    def _rename_in_services(self, kind: str, old: str, new: str) -> None:
        asked = [((SERVICES, name), service) for name, service in (self.document.get(CONFIG, SERVICES) or {}).items()]
        if metrics := self.document.get(CONFIG, METRICS):
            asked.append(((METRICS,), metrics))
        for place, entry in asked:
            ends: list[tuple[str | int, ...]] = [("on",)] if "on" in entry else []
            for end in (*ends, *(("from", at) for at in range(len(entry["from"])))):
                text = self.document.get(CONFIG, *place, *end)
                if text == f"{kind}:{old}":
                    self.document.replace((CONFIG, *place, *end), f"{kind}:{new}")
                elif text == old and not self._others(kind, old):
                    self.document.replace((CONFIG, *place, *end), new)

    def _others(self, kind: str, name: str) -> bool:
        """Tell whether something of another kind has a name, so that the bare name does not mean this kind."""
        sites = self.document.get(CONFIG, SITES) or {}
        named = {
            "role": name in (self.document.get(CONFIG, ROLES) or {}),
            "site": name in sites,
            "host": any(name in (site.get("hosts") or {}) for site in sites.values()),
        }
        return any(there for other, there in named.items() if other != kind)

    def _site(self, name: str) -> dict[str, Any]:
        return self._entry("site", CONFIG, SITES, name)

    def _site_of(self, host: str) -> str:
        sites = self.document.get(CONFIG, SITES) or {}
        for site, entry in sites.items():
            if host in (entry.get("hosts") or {}):
                return site
        known = sorted(name for site in sites.values() for name in site.get("hosts") or {})
        raise _wrong("sites", repr(host), "is no host of this stack", f"Hosts: {', '.join(known) or 'none'}.")

    def _entry(self, kind: str, *path: str) -> dict[str, Any]:
        entry = self.document.get(*path)
        if isinstance(entry, dict):
            return entry
        known = self.document.get(*path[:-1]) or {}
        place = ".".join(path[1:-1]).removeprefix("vcubev:")
        raise _wrong(place, repr(path[-1]), f"is no {kind} of this stack", f"There are: {', '.join(known) or 'none'}.")

    def _absent(self, name: str, *path: str) -> None:
        if name in (self.document.get(*path) or {}):
            place = ".".join((*path[1:], name)).removeprefix("vcubev:")
            raise _wrong(place, "", "is there already", "Choose another name.")


def _wrong(place: str, value: str, limit: str, cure: str) -> StackErrors:
    return StackErrors([StackError(place, value, limit, cure)])
