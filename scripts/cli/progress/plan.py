"""Which of the engine's resources belong to which machine, and what there is to do for a machine."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from components.model.nearest import nearest_services
from components.model.topology import HostView, HubView, SiteView, Topology

OWN = ""  # whose what belongs to no machine is: the stack's own
MACHINE, CONTACT, CRL, SERVICE, INSTALL, METRICS, NEAREST, LINK, OTHER = (
    "machine", "first contact", "crl", "service", "install", "metrics", "nearest", "link", "other",
)  # fmt: skip
COMMAND = "command:remote:Command"
MACHINE_TYPES = {"Machine", "Instance", "Server"}  # the last part of a cloud's own name for it
OURS = "vcubev:index:"
SIDES = ("listener", "dialer")
ENDINGS = {"-first-contact": CONTACT, "-crl": CRL, "-install": INSTALL, "-metrics": METRICS}


@dataclass(frozen=True)
class Resource:
    """What a URN says."""

    type: str
    name: str
    above: tuple[str, ...] = ()  # types of the components that it lies in, the outermost first

    @classmethod
    def of(cls, urn: str) -> Resource:
        """Read urn:pulumi:STACK::PROJECT::TYPE$TYPE::NAME."""
        _, _, rest = urn.split("::", 2)
        types, _, name = rest.partition("::")
        *above, own = types.split("$")
        return cls(own, name, tuple(above))

    def lies_in(self, *components: str) -> bool:
        """Tell whether it is one of some components of ours, or below one."""
        return any(f"{OURS}{component}" in (*self.above, self.type) for component in components)


@dataclass(frozen=True)
class Member:
    """A machine that the stack file names."""

    name: str  # as users know it: "oregon/a", "web-1"
    component: str  # as the engine does
    cloud: str
    kind: str  # "hub", "host" or "private host"
    steps: frozenset[str]  # what is to be done for it, by the names that `Plan.step` gives
    after: tuple[str, ...] = ()  # members that must be installed before it is
    through: str = ""  # the hub that must be met before it can be
    only_then: str = ""  # the hub that must be installed before its machine is made


@dataclass(frozen=True)
class Plan:
    """All machines of a stack, hubs first, each in its topology's order."""

    mesh: str  # the name that all of the engine's names begin with: the stack's
    members: dict[str, Member] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)  # one end's resource -> its hub
    sites: tuple[str, ...] = ()
    components: dict[str, str] = field(default_factory=dict)  # the engine's name, former ones too -> ours
    others: frozenset[str] = frozenset()  # hosts that the run is not about

    @classmethod
    def of(cls, mesh: str, topology: Topology, only: Collection[str] = ()) -> Plan:
        """Return what there is to do for a stack's machines.

        Args:
            only: Hosts that the run is about, with the hubs; all if there are none.
        """
        others = frozenset(host.name for host in topology.hosts if only and host.name not in only)
        links = {
            f"{mesh}-link-{link.name}-{side}": hub.key
            for link in topology.links
            for side, hub in zip(SIDES, link.ends, strict=True)
        }
        members: dict[str, Member] = {}
        before: HubView | None = None
        for site in topology.sites:
            for hub in site.hubs:
                members[hub.key] = _hub(mesh, site, hub, before, topology, links)
                before = hub
        hubs = {site.name: [hub.key for hub in site.hubs] for site in topology.sites}
        for site in topology.sites:
            for host in site.hosts:
                if not host.unmanaged:
                    members[host.name] = _host(mesh, site, host, hubs[host.hub_site], topology)
        components = {f"{mesh}-{former}": host.name for host in topology.hosts for former in host.formerly}
        components |= {member.component: member.name for member in members.values()}
        members = {name: member for name, member in members.items() if name not in others}
        return cls(mesh, members, links, tuple(site.name for site in topology.sites), components, others)

    def owner(self, resource: Resource, parent: Resource | None) -> str:
        """Return whose a resource is: a machine's name, of one that has left the stack file too, or OWN."""
        if hub := self.links.get(resource.name):
            return hub
        if not resource.lies_in("Hub", "Host"):
            return OWN
        is_component = resource.type in (f"{OURS}Hub", f"{OURS}Host")
        component = resource.name if is_component or parent is None else parent.name
        owner = self.components.get(component) or self._gone(component, resource.lies_in("Hub"))
        return OWN if self.others and owner not in self.members else owner

    def ends(self, link: str) -> tuple[str, ...]:
        """Return the hubs at both ends of a link, by one end's resource."""
        name = link.rpartition("-")[0]
        return tuple(self.links[f"{name}-{side}"] for side in SIDES)

    def _gone(self, component: str, is_hub: bool) -> str:
        name = component.removeprefix(f"{self.mesh}-")
        if is_hub:
            for site in sorted(self.sites, key=len, reverse=True):
                if name.startswith(f"{site}-"):
                    return f"{site}/{name.removeprefix(f'{site}-')}"
        return name

    def step(self, resource: Resource) -> tuple[str, str]:
        """Return what kind of step a resource is, and the step's name; of kind OTHER are those that take no time."""
        if resource.type != COMMAND:
            is_machine = resource.lies_in("Machine") and resource.type.rpartition(":")[2] in MACHINE_TYPES
            return (MACHINE, MACHINE) if is_machine and not resource.type.startswith(OURS) else (OTHER, resource.name)
        if resource.lies_in("Link"):
            return LINK, resource.name
        rest = NEAREST if "-nearest" in resource.name and "-service-" not in resource.name else SERVICE
        return next((kind for ending, kind in ENDINGS.items() if resource.name.endswith(ending)), rest), resource.name


def _hub(
    mesh: str, site: SiteView, hub: HubView, before: HubView | None, topology: Topology, links: dict[str, str]
) -> Member:
    name = f"{mesh}-{site.name}-{hub.name}"
    steps = _steps(name, bool(hub.machine), [f"service-{piece.name}" for piece in topology.policy.pieces()], topology)
    steps |= {f"{name}-crl"} | {end for end, key in links.items() if key == hub.key}
    return Member(hub.key, name, site.cloud, "hub", frozenset(steps), (before.key,) if before else ())


def _host(mesh: str, site: SiteView, host: HostView, hubs: list[str], topology: Topology) -> Member:
    name = f"{mesh}-{host.name}"
    pieces = topology.policy.pieces(host.address.ipv4)
    steps = _steps(name, bool(host.machine), [f"service-{piece.name}" for piece in pieces], topology)
    if nearest := nearest_services(topology.policy, host):
        steps |= {f"{name}-nearest", *(f"{name}-nearest-{service.name}" for service in nearest)}
    way_out = site.gateway.key if host.private and site.network.nat == "hub" and site.gateway else ""
    kind = "private host" if host.private else "host"
    through = hubs[0] if host.private and hubs else ""
    return Member(host.name, name, site.cloud, kind, frozenset(steps), tuple(hubs), through, way_out)


def _steps(component: str, brought: bool, services: list[str], topology: Topology) -> set[str]:
    def names() -> Iterator[str]:
        yield from () if brought else (MACHINE,)
        yield from (f"{component}-{part}" for part in ("first-contact", *services, "install"))
        if topology.policy.metrics is not None:
            yield f"{component}-metrics"

    return set(names())
