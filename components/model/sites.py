"""The sites of a stack file: hubs and hosts, their names, and what they ask of their cloud."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network

from components.model.addressing import HUBS_BLOCK, member_ipv4, member_ipv6, role_prefix_ipv4, role_prefix_ipv6
from components.model.clouds import CloudChecks, facts_of
from components.model.entries import ID_KINDS, BroughtEntry, HostEntry, HubEntry, SiteEntry
from components.model.facts import CloudFacts, CloudNotInstalled
from components.model.reading import StackReader
from components.model.topology import (
    HIGHEST_PORT,
    OWN_UDP_PORTS,
    BroughtMachine,
    HostView,
    HubView,
    NetworkChoice,
    Overlay,
    Role,
    SiteView,
    VirtualAddress,
)

# A hub's other services on its public side.
TAKEN_PORTS = {
    "port": {22: "SSH", **OWN_UDP_PORTS},
    "tcp_port": {22: "SSH"},
}
Place = tuple[str, ...]


class SitesSection:
    """Reads `sites:` with the help of what is right in the sections before it."""

    def __init__(
        self,
        reader: StackReader,
        overlay: Overlay | None,
        roles: Mapping[str, Role],
        role_names: Collection[str],
        clouds: Collection[str],
    ) -> None:
        self._reader, self._overlay, self._roles, self._clouds = reader, overlay, roles, clouds
        self._role_names = role_names  # with those that have a mistake of their own: a host of such a role is right

    def read(self, declared: object) -> list[SiteView]:
        """Return the sites that are right, by name."""
        if not declared:
            self._reader.note(("sites",), None, "is missing or empty", "Declare at least one site with one hub.")
        entries = self._reader.section(SiteEntry, declared, "sites")
        sites = []
        for name, written in sorted(declared.items(), key=str) if isinstance(declared, Mapping) else ():
            place = ("sites", str(name))
            inner = written if isinstance(written, Mapping) else {}
            cloud = inner.get("cloud")
            if isinstance(cloud, str) and cloud not in self._clouds:
                cure = f"Clouds: {', '.join(sorted(self._clouds))}."
                self._reader.note((*place, "cloud"), cloud, "is not a cloud that this program knows", cure)
            facts = self._facts(cloud, place)
            # Looked into even where the site has a mistake of its own: all are told at once.
            hubs = self._hubs(str(name), inner.get("hubs"), facts, place)
            hosts = self._hosts(str(name), inner.get("hosts"), facts, place)
            if not inner.get("hubs") and not (facts and facts.brings_machines and inner.get("hubs_of")):
                cure = "Declare one, for example hubs: {a: {id: 1}}."
                if facts and facts.brings_machines:
                    cure = f"{cure[:-1]}, or name another site in hubs_of."
                self._reader.note((*place, "hubs"), None, "is missing or empty: a site needs a hub of its own", cure)
            if entry := entries.get(name):
                sites.append(self._site(name, entry, facts, hubs, hosts, place))
        self._hubs_of_others(sites, declared)
        self._machine_names(sites)
        return sites

    def _facts(self, cloud: object, place: Place) -> CloudFacts | None:
        try:
            return facts_of(self._clouds, cloud)
        except CloudNotInstalled as missing:
            cure = f"Install it: uv sync --extra {cloud}."
            self._reader.note((*place, "cloud"), cloud, f"needs the package {missing}, which is not installed", cure)
            return None

    def _site(
        self,
        name: str,
        entry: SiteEntry,
        facts: CloudFacts | None,
        hubs: tuple[HubView, ...],
        hosts: tuple[HostView, ...],
        place: Place,
    ) -> SiteView:
        self._reader.unique(ID_KINDS["sites"], entry.id, (*place, "id"))
        if facts is not None:
            CloudChecks(self._reader, entry.cloud, facts).site(entry, hubs, place)
        elif entry.region is None:
            self._reader.note((*place, "region"), None, "is missing", "Add it.")
        nat = entry.network.nat or (facts.nat[0] if facts and facts.nat else "")
        return SiteView(
            name=name,
            id=entry.id,
            cloud=entry.cloud,
            region=entry.region or "",
            underlay=self._underlay(entry, facts, place),
            hubs=hubs,
            hosts=tuple(replace(host, hubs_of=entry.hubs_of or "") for host in hosts),
            size=entry.machine.size,
            image=entry.machine.image,
            boot_seconds=entry.machine.boot_seconds,
            network=NetworkChoice(entry.network.vpc or "", nat, tuple(entry.network.zones)),
            account=entry.account or "",
            hubs_of=entry.hubs_of or "",
        )

    def _underlay(self, entry: SiteEntry, facts: CloudFacts | None, place: Place) -> IPv4Network:
        underlay = entry.underlay or IPv4Network(f"172.30.{entry.id}.0/24")
        if self._overlay is not None and underlay.overlaps(self._overlay.ipv4):
            limit = f"overlaps vcubev:overlay {self._overlay.ipv4}: one address would mean two machines"
            cure = "Choose another underlay for the site, or another overlay."
            self._reader.note((*place, "underlay"), underlay, limit, cure)
        fitting = (facts or CloudFacts()).underlay_prefix_lens
        if underlay.prefixlen not in fitting:
            whose = f"cloud {entry.cloud}'s networks" if facts else "every cloud's network"
            limit = f"must be a /{fitting.start} to a /{fitting.stop - 1}, the sizes that {whose} can have"
            self._reader.note((*place, "underlay"), underlay, limit, "Choose a prefix of such a size.")
        return underlay

    def _hubs(self, site: str, declared: object, facts: CloudFacts | None, place: Place) -> tuple[HubView, ...]:
        hubs = []
        for name, hub in self._reader.section(HubEntry, declared, *place, "hubs").items():
            here = (*place, "hubs", name)
            self._reader.unique(ID_KINDS["hubs"], hub.id, (*here, "id"))
            for key, taken in TAKEN_PORTS.items():
                if (port := getattr(hub, key)) in taken:
                    limit = f"is the port of {taken[port]} on the same machine"
                    usual = HubEntry.model_fields[key].default
                    self._reader.note((*here, key), port, limit, f"Choose another, for example {usual}.")
            zone, machine = self._where(hub, facts, here)
            if machine and machine.port == hub.tcp_port:
                limit = "is the port of SSH on the same machine"
                self._reader.note((*here, "tcp_port"), hub.tcp_port, limit, "Choose another.")
            if self._overlay is not None:
                prefixes = (
                    role_prefix_ipv4(self._overlay.ipv4, HUBS_BLOCK),
                    role_prefix_ipv6(self._overlay.ipv6, HUBS_BLOCK),
                )
                address = _address(*prefixes, hub.id)
                size = (hub.size, hub.image)
                rest = {"zone": zone, "machine": machine, "processes": hub.processes}
                view = HubView(name, site, hub.id, address, hub.port, hub.tcp_port, *size, **rest)
                if (last := view.udp_ports[-1]) > HIGHEST_PORT:
                    limit = f"needs UDP ports from {hub.port} on, up to {last}, and the highest is {HIGHEST_PORT}"
                    self._reader.note((*here, "processes"), hub.processes, limit, "Choose a lower port, or fewer.")
                hubs.append(view)
        return tuple(hubs)

    def _hosts(self, site: str, declared: object, facts: CloudFacts | None, place: Place) -> tuple[HostView, ...]:
        hosts = []
        for name, host in self._reader.section(HostEntry, declared, *place, "hosts").items():
            here = (*place, "hosts", name)
            self._reader.unique(ID_KINDS["hosts"].format(host.role), host.id, (*here, "id"))
            zone, machine = self._where(host, facts, here)
            if host.role not in self._role_names:
                cure = f"Roles: {', '.join(sorted(self._role_names)) or 'none yet; add it under vcubev:roles'}."
                self._reader.note((*here, "role"), host.role, "is not a role of this stack", cure)
            elif role := self._roles.get(host.role):
                address = _address(role.ipv4, role.ipv6, host.id)
                rest = {"zone": zone, "machine": machine, "formerly": tuple(host.formerly), "unmanaged": host.unmanaged}
                hosts.append(HostView(name, site, host.role, host.id, address, host.private, **rest))
        return tuple(hosts)

    def _where(
        self, entry: HubEntry | HostEntry, facts: CloudFacts | None, place: Place
    ) -> tuple[int, BroughtMachine | None]:
        """Return the failure zone, and the machine if the user brings one.

        The zone follows from the id unless it is written down, so that no other machine's coming or going moves it.
        """
        if isinstance(entry, HostEntry) and entry.unmanaged:
            for key in ("private", "zone", "machine"):
                if (value := getattr(entry, key)) is not None and value is not False:
                    limit = "is for a host whose machine is set up, and this one joins by a file"
                    self._reader.note((*place, key), None if key == "machine" else value, limit, "Take it out.")
        elif facts is not None:
            self._machine(entry.machine, facts, place)
            if entry.zone is not None and entry.zone >= facts.zones:
                limit = f"is out of range (0-{facts.zones - 1}, as many zones as the site has)"
                self._reader.note((*place, "zone"), entry.zone, limit, "Choose one of them.")
        zone = entry.id % (facts.zones if facts else 1) if entry.zone is None else entry.zone
        brought = entry.machine
        return zone, brought and BroughtMachine(str(brought.address), brought.user, brought.host_key, brought.port)

    def _machine(self, brought: BroughtEntry | None, facts: CloudFacts, place: Place) -> None:
        here = (*place, "machine")
        if brought is not None and not facts.brings_machines:
            cure = "Take it out, or put this machine into a site of cloud byo."
            self._reader.note(here, None, "is for machines of the user's own, and this cloud makes them", cure)
        if brought is None and facts.brings_machines:
            cure = 'Add machine: {address: 203.0.113.7, user: admin, host_key: "ssh-ed25519 AAAA..."}.'
            self._reader.note(here, None, "is missing: the machines of this cloud are the user's own", cure)
        if brought is not None:
            where = f"{brought.address}:{brought.port}"
            self._reader.unique("machine", where, here, "A machine is one hub or one host.")

    def _hubs_of_others(self, sites: list[SiteView], declared: object) -> None:
        written = declared if isinstance(declared, Mapping) else {}
        with_hubs = [str(name) for name, site in written.items() if isinstance(site, Mapping) and site.get("hubs")]
        for site in sites:
            place = ("sites", site.name, "hubs_of")
            facts = self._facts(site.cloud, ("sites", site.name))
            if site.hubs_of and (site.hubs or not (facts and facts.brings_machines)):
                limit = "is for sites of the user's own machines that have no hub"
                self._reader.note(place, site.hubs_of, limit, "Take it out.")
            elif site.hubs_of and site.hubs_of not in with_hubs:
                cure = f"Sites with hubs: {', '.join(sorted(with_hubs)) or 'none'}."
                self._reader.note(place, site.hubs_of, "is not a site with hubs of its own", cure)

    def _machine_names(self, sites: list[SiteView]) -> None:
        """Hosts of all sites and hubs share one space of names: that of the machines and of the engine's resources."""
        taken: dict[str, str] = {}
        named = [
            (f"{hub.site}-{hub.name}", ("sites", site.name, "hubs", hub.name)) for site in sites for hub in site.hubs
        ]
        # A name that a host once had still leads the engine to that host's machine.
        named += [
            (name, ("sites", site.name, "hosts", host.name))
            for site in sites
            for host in site.hosts
            for name in (host.name, *host.formerly)
        ]
        for name, place in named:
            if name in taken:
                limit = f"would name its machine {name!r}, as vcubev:{taken[name]} does"
                self._reader.note(place, None, limit, "Rename one of the two.")
            taken.setdefault(name, ".".join(place))


def _address(ipv4: IPv4Network, ipv6: IPv6Network, member_id: int) -> VirtualAddress:
    return VirtualAddress(member_ipv4(ipv4, member_id), member_ipv6(ipv6, member_id))
