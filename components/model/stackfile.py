"""From a stack file's values to a checked topology, or to all of its mistakes at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from components.model.addressing import (
    IPV6_OVERLAY_PREFIX_LEN,
    OVERLAY_PREFIX_LENS,
    role_ids,
    role_prefix_ipv4,
    role_prefix_ipv6,
)
from components.model.clouds import check_operators
from components.model.config import NAMESPACE
from components.model.entries import (
    ID_KINDS,
    LONGEST_DOMAIN,
    TAKEN_DOMAINS,
    CertificatesEntry,
    DirectEntry,
    DomainEntry,
    MeshEntry,
    OperatorsEntry,
    OverlayEntry,
    RetiredEntry,
    RoleEntry,
)
from components.model.errors import StackError, StackErrors
from components.model.links import links
from components.model.reading import FREE_ID, StackReader
from components.model.services import SERVICE_KEYS, ServicesSection
from components.model.sites import SitesSection
from components.model.topology import Certificates, Overlay, Role, Topology
from components.model.trust import TRUST_KEYS, read_keys, read_revoked

SECRETS = ("byo_private_key",)  # read by the program, never here
OWN_KEYS = ("overlay", "roles", "sites", "domain", "mesh", "retired", "certificates", "operators", "direct")
KEYS = (*OWN_KEYS, *TRUST_KEYS, *SERVICE_KEYS, *SECRETS)
HOURS_PER_DAY = 24


def load(values: Mapping[str, object], known_clouds: Collection[str]) -> Topology:
    """Return the topology that a stack's values describe.

    Args:
        values: Key -> value of the `vcubev:` namespace, structures decoded.
        known_clouds: What `cloud:` may say; a map to each one's facts, or names only, which checks less.

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
    return load_text(path.read_text(), path.name, known_clouds)


def load_text(text: str, file_name: str, known_clouds: Collection[str]) -> Topology:
    """Read what stands in a `Pulumi.<stack>.yaml`, or would.

    Raises:
        StackErrors: See `load`.
    """
    try:
        written = YAML(typ="safe").load(text)
    except YAMLError as problem:
        told = " ".join(str(problem).split())
        raise StackErrors(
            [StackError(file_name, "", f"is not YAML: {told}", "Mend it; quote IPv6 prefixes.")]
        ) from None
    config = written.get("config") if isinstance(written, Mapping) else None
    if not isinstance(config, Mapping):
        cure = "Begin with stacks/Pulumi.lab.yaml."
        raise StackErrors([StackError(file_name, "", "has no section config:", cure)])
    bare = [name for name in SECRETS if isinstance(config.get(f"{NAMESPACE}{name}"), str)]
    if bare:
        cure = f"Use another key, and write it by: pulumi config set --secret {NAMESPACE}{bare[0]}"
        raise StackErrors([StackError(bare[0], "", "stands there in clear", cure)])
    return load({k.removeprefix(NAMESPACE): v for k, v in config.items() if str(k).startswith(NAMESPACE)}, known_clouds)


class _StackFile:
    """One pass over the sections of a stack file."""

    def __init__(self, reader: StackReader, values: Mapping[str, object]) -> None:
        self._reader, self._values = reader, values

    def topology(self, known_clouds: Collection[str]) -> Topology | None:
        overlay = self._overlay()
        domain = self._domain()
        self._retired()
        roles = self._roles(overlay)
        sites = SitesSection(self._reader, overlay, roles, self._role_names, known_clouds).read(
            self._values.get("sites")
        )
        certificates = self._certificates()
        direct = self._reader.entry(DirectEntry, {"direct": self._values.get("direct", False)})
        mesh = self._reader.entry(MeshEntry, self._values.get("mesh"), "mesh")
        operators = self._reader.entry(OperatorsEntry, {"operators": self._values.get("operators", [])})
        check_operators(self._reader, sites, known_clouds, bool(self._values.get("operators")))
        keys = read_keys(self._reader, self._values.get("keys"), sites, self._values.get("sites"))
        revoked = read_revoked(self._reader, self._values.get("revoked"))
        if None in (overlay, domain, certificates, operators, mesh, direct):
            return None
        return Topology(
            replace(overlay, domain=domain),
            tuple(roles.values()),
            tuple(sites),
            certificates,
            tuple(operators.operators),
            policy=ServicesSection(self._reader, overlay, roles, sites).read(self._values, direct.direct),
            keys=keys,
            revoked=revoked,
            direct=direct.direct,
            links=links((hub for site in sites for hub in site.hubs), mesh.full_up_to),
        )

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

    def _domain(self) -> str | None:
        written = self._values.get("domain")
        entry = self._reader.entry(DomainEntry, {} if written is None else {"domain": written})
        if entry is None:
            return None
        cure = "Choose another, for example a part of a domain of yours, or none: vcubev.internal."
        if entry.domain.rpartition(".")[2] in TAKEN_DOMAINS:
            self._reader.note(("domain",), entry.domain, "is reserved: resolvers never ask a server of ours", cure)
        if len(entry.domain) > LONGEST_DOMAIN:
            limit = f"is longer than {LONGEST_DOMAIN} characters, which leave room for a host's and a site's name"
            self._reader.note(("domain",), entry.domain, limit, cure)
        return entry.domain

    def _retired(self) -> None:
        """Keep ids that had an owner once from getting another."""
        entry = self._reader.entry(RetiredEntry, self._values.get("retired"), "retired")
        for kind, ids in entry.kinds() if entry else ():
            for number in ids:
                self._reader.unique(ID_KINDS[kind[0]].format(*kind[1:]), number, ("retired", *kind), FREE_ID)

    def _roles(self, overlay: Overlay | None) -> dict[str, Role]:
        entries = self._reader.section(RoleEntry, self._values.get("roles"), "roles")
        roles = {}
        for name, entry in entries.items():
            place = ("roles", name, "id")
            self._reader.unique(ID_KINDS["roles"], entry.id, place)
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
