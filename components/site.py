"""One site: a cloud region's network, firewalls, hubs and hosts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pulumi import Alias, ComponentResource, Output, Resource, ResourceOptions

from components.clouds import ANYWHERE, Account, Firewall, FirewallRule, SiteNetwork, open_cloud
from components.host import Host, HostArgs
from components.hub import Hub, HubArgs
from components.model.topology import DIRECT_PORTS, LINK_PORTS, HostView, HubView, SiteView, Topology
from components.pki import Authority

ALL_PORTS = ("1-65535",)


@dataclass(frozen=True)
class SiteArgs:
    """One site of a topology."""

    site: SiteView
    topology: Topology
    authority: Authority
    account: Account
    after: Resource | None = None  # what must be done before this site's first hub may change


class Site(ComponentResource):
    """The network and the hubs; the mesh places the hosts."""

    hubs: list[Hub]
    network: SiteNetwork  # its natives, and the firewalls', are there for who needs more than this program does

    def __init__(self, name: str, args: SiteArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("vcubev:index:Site", name, None, opts)
        self._args = args
        child = ResourceOptions(parent=self)
        self._cloud = open_cloud(args.site, args.account)
        self.network = self._cloud.network(f"{name}-network", child)
        operators = [str(prefix) for prefix in args.topology.operators]
        ssh = FirewallRule("tcp", ("22",), self.network.operator_sources.apply(lambda own: sorted({*own, *operators})))
        ping = FirewallRule("icmp", (), ANYWHERE)
        # Constant, whatever links exist: a new link must not touch the firewalls of those that do.
        link_ports = f"{LINK_PORTS.start}-{LINK_PORTS.stop - 1}"
        hosts_ports = _hosts_ports(args.site.hubs)
        tunnels = FirewallRule("udp", (*hosts_ports, link_ports), ANYWHERE)
        fallback = FirewallRule("tcp", tuple(sorted({str(hub.tcp_port) for hub in args.site.hubs})), ANYWHERE)
        transit = self._transit() if self._hub_is_gateway else ()
        self.hub_firewall = self._firewall(f"{name}-hubs", (ssh, ping, tunnels, fallback, *transit), child)
        self.host_firewall = self._firewall(f"{name}-hosts", (ssh, ping, *self._direct(ANYWHERE)), child)
        self.hubs = []
        for hub in args.site.hubs:
            self.hubs.append(self._hub(f"{name}-{hub.name}", hub, child))
        # Which hub a private host is reached through: any of its site's will do.
        addresses = [a for hub in self.hubs for a in (hub.machine.vm.public_address, hub.machine.vm.private_address)]
        gateways = Output.all(*addresses).apply(_as_prefixes)
        private_rules = (FirewallRule("tcp", ("22",), gateways), FirewallRule("icmp", (), gateways))
        if args.topology.direct:  # and pings that ask how large packets may be
            beside = [str(args.site.underlay)]
            private_rules += (*self._direct(beside), FirewallRule("icmp", (), beside))
        self.private_firewall = self._firewall(f"{name}-private", private_rules, child)
        self._way_out = self._route_out(f"{name}-way-out", child) if self._hub_is_gateway else ()
        self.register_outputs({})

    @property
    def _hub_is_gateway(self) -> bool:
        return self._args.site.network.nat == "hub"

    def _firewall(self, name: str, rules: tuple[FirewallRule, ...], opts: ResourceOptions) -> Firewall:
        return self._cloud.firewall(name, self.network, rules, opts)

    def _direct(self, sources: Sequence[str]) -> tuple[FirewallRule, ...]:
        """Return what lets hosts' tunnels to each other in; constant, whatever hosts exist."""
        ports = f"{DIRECT_PORTS.start}-{DIRECT_PORTS.stop - 1}"
        return (FirewallRule("udp", (ports,), sources),) if self._args.topology.direct else ()

    def _transit(self) -> tuple[FirewallRule, ...]:
        """Return what lets private machines' packets into the hub that takes them on."""
        underlay = [str(self._args.site.underlay)]
        return FirewallRule("tcp", ALL_PORTS, underlay), FirewallRule("udp", ALL_PORTS, underlay)

    def _route_out(self, name: str, opts: ResourceOptions) -> tuple[Resource, ...]:
        """Return what must be done before a private machine has the internet: the route, and a hub that masquerades."""
        gateway = next(hub for hub in self.hubs if hub.view == self._args.site.gateway)
        return (*self._cloud.route_out(name, self.network, gateway.machine.vm, opts), gateway.installed)

    def _hub(self, name: str, hub: HubView, opts: ResourceOptions) -> Hub:
        args = HubArgs(
            hub=hub,
            site=self._args.site,
            overlay=self._args.topology.overlay,
            policy=self._args.topology.policy,
            cloud=self._cloud,
            network=self.network,
            firewall=self.hub_firewall,
            authority=self._args.authority,
            after=self.hubs[-1].installed if self.hubs else self._args.after,
            direct=self._args.topology.direct,
        )
        return Hub(name, args, opts)

    def place(self, name: str, host: HostView, hubs: list[Hub]) -> Host:
        """Create a host of this site.

        Args:
            hubs: Its own, which are this site's or those of the site that stands in for it.
        """
        args = HostArgs(
            host=host,
            site=self._args.site,
            overlay=self._args.topology.overlay,
            policy=self._args.topology.policy,
            cloud=self._cloud,
            network=self.network,
            firewall=self.private_firewall if host.private else self.host_firewall,
            authority=self._args.authority,
            names=self._args.topology.names_of(host),
            own_hubs=hubs,
            direct=self._args.topology.direct,
            gateway=hubs[0].machine,
            launch_after=self._way_out,
        )
        # What lies below the component follows by its name, so a renamed host keeps its machine.
        prefix = name.removesuffix(host.name)
        former = [Alias(name=f"{prefix}{other}") for other in host.formerly]
        return Host(name, args, ResourceOptions(parent=self, aliases=former))


def _hosts_ports(hubs: Sequence[HubView]) -> list[str]:
    """Return the UDP ports by which hosts come in: each hub's first, then all others in as few ranges as they make."""
    first = {hub.port for hub in hubs}
    ranges: list[list[int]] = []
    for port in sorted({port for hub in hubs for port in hub.udp_ports} - first):
        if ranges and port == ranges[-1][1] + 1:
            ranges[-1][1] = port
        else:
            ranges.append([port, port])
    return [*sorted(map(str, first)), *(f"{low}-{high}" if low < high else str(low) for low, high in ranges)]


def _as_prefixes(addresses: list[str]) -> list[str]:
    return [f"{address}/32" for address in addresses if address]
