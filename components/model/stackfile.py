"""From a stack file's values to a checked topology, or to all of its mistakes at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from ipaddress import IPv4Network
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from components.model.addressing import (
    HUBS_BLOCK,
    IPV6_OVERLAY_PREFIX_LEN,
    OVERLAY_PREFIX_LENS,
    member_ipv4,
    member_ipv6,
    role_ids,
    role_prefix_ipv4,
    role_prefix_ipv6,
)
from components.model.config import NAMESPACE
from components.model.entries import (
    CertificatesEntry,
    HostEntry,
    HubEntry,
    OperatorsEntry,
    OverlayEntry,
    RoleEntry,
    SiteEntry,
)
from components.model.errors import StackError, StackErrors
from components.model.reading import StackReader
from components.model.services import SERVICE_KEYS, ServicesSection
from components.model.topology import (
    LINK_PORTS,
    Certificates,
    HostView,
    HubView,
    Overlay,
    Role,
    SiteView,
    Topology,
    VirtualAddress,
)

KEYS = ("overlay", "roles", "sites", "certificates", "operators", *SERVICE_KEYS)
HOURS_PER_DAY = 24
# A hub's other services on its public side.
TAKEN_PORTS = {
    "port": {22: "SSH", **dict.fromkeys(LINK_PORTS, "the links between hubs")},
    "tcp_port": {22: "SSH"},
}


def load(values: Mapping[str, object], known_clouds: Collection[str]) -> Topology:
    """Return the topology that a stack's values describe.

    Args:
        values: Key -> value of the `vcubev:` namespace, structures decoded.
        known_clouds: What `cloud:` may say.

    Raises:
        StackErrors: All that is wrong, each with its place, value, limit and cure.
    """
    reader = StackReader()
    for key in sorted(set(values) - set(KEYS)):
        reader.note((key,), None, "is not a key of this program", f"Keys: {', '.join(KEYS)}.")
    topology = _StackFile(reader, values).topology(known_clouds)
    if reader.errors or topology is None:
        raise StackErrors(reader.errors)
    return topology


def load_file(path: Path, known_clouds: Collection[str]) -> Topology:
    """Read a `Pulumi.<stack>.yaml` without the engine.

    Raises:
        StackErrors: See `load`.
    """
    try:
        written = YAML(typ="safe").load(path.read_text())
    except YAMLError as problem:
        told = " ".join(str(problem).split())
        raise StackErrors(
            [StackError(path.name, "", f"is not YAML: {told}", "Mend it; quote IPv6 prefixes.")]
        ) from None
    config = written.get("config") if isinstance(written, Mapping) else None
    if not isinstance(config, Mapping):
        cure = "Begin with stacks/Pulumi.lab.yaml."
        raise StackErrors([StackError(path.name, "", "has no section config:", cure)])
    return load({k.removeprefix(NAMESPACE): v for k, v in config.items() if str(k).startswith(NAMESPACE)}, known_clouds)


class _StackFile:
    """One pass over the sections of a stack file."""

    def __init__(self, reader: StackReader, values: Mapping[str, object]) -> None:
        self._reader, self._values = reader, values
        self._ids: dict[tuple[str, int], str] = {}  # (kind, id) -> the place that has it

    def topology(self, known_clouds: Collection[str]) -> Topology | None:
        overlay = self._overlay()
        roles = self._roles(overlay)
        sites = self._sites(overlay, roles, known_clouds)
        certificates = self._certificates()
        operators = self._reader.entry(OperatorsEntry, {"operators": self._values.get("operators", [])})
        if None in (overlay, certificates, operators):
            return None
        policy = ServicesSection(self._reader, overlay, roles, sites).read(self._values)
        return Topology(overlay, tuple(roles.values()), tuple(sites), certificates, tuple(operators.operators), policy)

    def _overlay(self) -> Overlay | None:
        entry = self._reader.entry(OverlayEntry, self._values.get("overlay"), "overlay")
        if entry is None:
            return None
        fits = True
        if entry.ipv4.prefixlen not in OVERLAY_PREFIX_LENS:
            fits = False
            low, high = OVERLAY_PREFIX_LENS.start, OVERLAY_PREFIX_LENS.stop - 1
            self._reader.note(
                ("overlay", "ipv4"),
                entry.ipv4,
                f"must be a /{low} to a /{high}: every role takes a /24 of it, the hubs another",
                "Choose a wider private prefix, for example 10.100.0.0/16.",
            )
        if entry.ipv6.prefixlen != IPV6_OVERLAY_PREFIX_LEN:
            fits = False
            self._reader.note(
                ("overlay", "ipv6"),
                entry.ipv6,
                f"must be a /{IPV6_OVERLAY_PREFIX_LEN}: every role takes a /64 of it",
                "Draw a unique local prefix (RFC 4193), for example fd5c:ab1e::/48.",
            )
        for family in ("ipv4", "ipv6"):
            prefix = getattr(entry, family)
            if prefix.is_multicast or prefix.is_link_local or prefix.is_loopback or prefix.is_unspecified:
                fits = False
                self._reader.note(
                    ("overlay", family), prefix, "is reserved", "Choose a private prefix (RFC 1918, RFC 4193)."
                )
        return Overlay(entry.ipv4, entry.ipv6) if fits else None

    def _roles(self, overlay: Overlay | None) -> dict[str, Role]:
        entries = self._reader.section(RoleEntry, self._values.get("roles"), "roles")
        roles = {}
        for name, entry in entries.items():
            place = ("roles", name, "id")
            self._unique("role id", entry.id, place)
            if overlay is None:
                continue
            fitting = role_ids(overlay.ipv4)
            if entry.id not in fitting:
                limit = f"does not fit in overlay {overlay.ipv4}, which holds role ids 1-{fitting.stop - 1}"
                self._reader.note(place, entry.id, limit, "Choose a free id or widen vcubev:overlay.")
                continue
            prefixes = role_prefix_ipv4(overlay.ipv4, entry.id), role_prefix_ipv6(overlay.ipv6, entry.id)
            roles[name] = Role(name, entry.id, *prefixes)
        declared = self._values.get("roles")
        # With those that have a mistake of their own: a host of such a role is right.
        self._role_names = set(declared) if isinstance(declared, Mapping) else set()
        return roles

    def _sites(
        self, overlay: Overlay | None, roles: Mapping[str, Role], known_clouds: Collection[str]
    ) -> list[SiteView]:
        if not self._values.get("sites"):
            self._reader.note(("sites",), None, "is missing or empty", "Declare at least one site with one hub.")
        declared = self._values.get("sites")
        entries = self._reader.section(SiteEntry, declared, "sites")
        sites = []
        for name, written in sorted(declared.items(), key=str) if isinstance(declared, Mapping) else ():
            place = ("sites", str(name))
            inner = written if isinstance(written, Mapping) else {}
            cloud = inner.get("cloud")
            if isinstance(cloud, str) and cloud not in known_clouds:
                cure = f"Clouds: {', '.join(sorted(known_clouds))}."
                self._reader.note((*place, "cloud"), cloud, "is not a cloud that this program knows", cure)
            # Looked into even where the site has a mistake of its own: all are told at once.
            hubs = self._hubs(str(name), inner.get("hubs"), overlay, place)
            hosts = self._hosts(str(name), inner.get("hosts"), roles, place)
            if entry := entries.get(name):
                self._unique("site id", entry.id, (*place, "id"))
                underlay = self._underlay(entry, overlay, place)
                machine = (entry.machine.size, entry.machine.image)
                sites.append(SiteView(name, entry.id, entry.cloud, entry.region, underlay, hubs, hosts, *machine))
        self._machine_names(sites)
        return sites

    def _underlay(self, entry: SiteEntry, overlay: Overlay | None, place: tuple[str, ...]) -> IPv4Network:
        underlay = entry.underlay or IPv4Network(f"172.30.{entry.id}.0/24")
        if overlay is not None and underlay.overlaps(overlay.ipv4):
            limit = f"overlaps vcubev:overlay {overlay.ipv4}: one address would mean two machines"
            cure = "Choose another underlay for the site, or another overlay."
            self._reader.note((*place, "underlay"), underlay, limit, cure)
        if underlay.prefixlen not in (fitting := range(16, 29)):
            limit = (
                f"must be a /{fitting.start} to a /{fitting.stop - 1}, the sizes that every cloud's network can have"
            )
            self._reader.note((*place, "underlay"), underlay, limit, "Choose a prefix of such a size.")
        return underlay

    def _hubs(
        self, site: str, declared: object, overlay: Overlay | None, place: tuple[str, ...]
    ) -> tuple[HubView, ...]:
        if not declared:
            cure = "Declare one, for example hubs: {a: {id: 1}}."
            self._reader.note((*place, "hubs"), None, "is missing or empty: a site needs a hub of its own", cure)
        hubs = []
        for name, hub in self._reader.section(HubEntry, declared, *place, "hubs").items():
            here = (*place, "hubs", name)
            self._unique("hub id", hub.id, (*here, "id"))
            for key, taken in TAKEN_PORTS.items():
                if (port := getattr(hub, key)) in taken:
                    limit = f"is the port of {taken[port]} on the same machine"
                    usual = HubEntry.model_fields[key].default
                    self._reader.note((*here, key), port, limit, f"Choose another, for example {usual}.")
            if overlay is not None:
                address = _address(overlay, HUBS_BLOCK, hub.id)
                hubs.append(HubView(name, site, hub.id, address, hub.port, hub.tcp_port, hub.size, hub.image))
        return tuple(hubs)

    def _hosts(
        self, site: str, declared: object, roles: Mapping[str, Role], place: tuple[str, ...]
    ) -> tuple[HostView, ...]:
        hosts = []
        for name, host in self._reader.section(HostEntry, declared, *place, "hosts").items():
            here = (*place, "hosts", name)
            self._unique(f"id in role {host.role}", host.id, (*here, "id"))
            if host.role not in self._role_names:
                cure = f"Roles: {', '.join(sorted(self._role_names)) or 'none yet; add it under vcubev:roles'}."
                self._reader.note((*here, "role"), host.role, "is not a role of this stack", cure)
            elif role := roles.get(host.role):
                address = VirtualAddress(member_ipv4(role.ipv4, host.id), member_ipv6(role.ipv6, host.id))
                hosts.append(HostView(name, site, host.role, host.id, address, host.private))
        return tuple(hosts)

    def _machine_names(self, sites: list[SiteView]) -> None:
        """Hosts of all sites and hubs share one space of names: that of the machines and of the engine's resources."""
        taken: dict[str, str] = {}
        named = [
            (f"{hub.site}-{hub.name}", ("sites", site.name, "hubs", hub.name)) for site in sites for hub in site.hubs
        ]
        named += [(host.name, ("sites", site.name, "hosts", host.name)) for site in sites for host in site.hosts]
        for name, place in named:
            if name in taken:
                limit = f"would name its machine {name!r}, as vcubev:{taken[name]} does"
                self._reader.note(place, None, limit, "Rename one of the two.")
            taken.setdefault(name, ".".join(place))

    def _certificates(self) -> Certificates | None:
        entry = self._reader.entry(CertificatesEntry, self._values.get("certificates"), "certificates")
        if entry is None:
            return None
        for key, longest in (("renew_before_days", "validity_days"), ("validity_days", "ca_validity_days")):
            value, limit = getattr(entry, key), getattr(entry, longest)
            if value >= limit:
                self._reader.note(("certificates", key), value, f"must be less than {longest} ({limit})", "Shorten it.")
        days = (entry.ca_validity_days, entry.validity_days, entry.renew_before_days)
        return Certificates(*(count * HOURS_PER_DAY for count in days))

    def _unique(self, kind: str, number: int, place: tuple[str, ...]) -> None:
        here = ".".join(place)
        first = self._ids.setdefault((kind, number), here)
        if first != here:
            cure = "Choose a free id; an id once used stays with its owner for life."
            self._reader.note(place, number, f"is taken: vcubev:{first} has this {kind}", cure)


def _address(overlay: Overlay, role_id: int, member_id: int) -> VirtualAddress:
    prefixes = role_prefix_ipv4(overlay.ipv4, role_id), role_prefix_ipv6(overlay.ipv6, role_id)
    return VirtualAddress(member_ipv4(prefixes[0], member_id), member_ipv6(prefixes[1], member_id))
