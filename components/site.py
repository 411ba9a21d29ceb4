"""One site: a cloud region's network, firewalls, hubs and hosts."""

from __future__ import annotations

from dataclasses import dataclass

from pulumi import ComponentResource, Output, Resource, ResourceOptions

from components.clouds import ANYWHERE, FirewallRule, open_cloud
from components.host import Host, HostArgs
from components.hub import Hub, HubArgs
from components.model.topology import LINK_PORTS, HostView, HubView, SiteView, Topology
from components.pki import Authority


@dataclass(frozen=True)
class SiteArgs:
    """One site of a topology."""

    site: SiteView
    topology: Topology
    authority: Authority
    after: Resource | None = None  # what must be done before this site's first hub may change


class Site(ComponentResource):
    """The network and the hubs; the mesh places the hosts."""

    hubs: list[Hub]

    def __init__(self, name: str, args: SiteArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("vcubev:index:Site", name, None, opts)
        self._args = args
        child = ResourceOptions(parent=self)
        self._cloud = open_cloud(args.site.cloud, args.site.region)
        self._network = self._cloud.network(f"{name}-network", str(args.site.underlay), child)
        operators = [str(prefix) for prefix in args.topology.operators]
        ssh = FirewallRule("tcp", ("22",), self._network.operator_sources.apply(lambda own: sorted({*own, *operators})))
        ping = FirewallRule("icmp", (), ANYWHERE)
        # Constant, whatever links exist: a new link must not touch the firewalls of those that do.
        link_ports = f"{LINK_PORTS.start}-{LINK_PORTS.stop - 1}"
        hosts_ports = sorted({str(hub.port) for hub in args.site.hubs})
        tunnels = FirewallRule("udp", (*hosts_ports, link_ports), ANYWHERE)
        fallback = FirewallRule("tcp", tuple(sorted({str(hub.tcp_port) for hub in args.site.hubs})), ANYWHERE)
        self._hub_firewall = self._firewall(f"{name}-hubs", (ssh, ping, tunnels, fallback), child)
        self._host_firewall = self._firewall(f"{name}-hosts", (ssh, ping), child)
        self.hubs = []
        for hub in args.site.hubs:
            self.hubs.append(self._hub(f"{name}-{hub.name}", hub, child))
        # Which hub a private host is reached through: any of its site's will do.
        gateway = FirewallRule("tcp", ("22",), Output.all(*[hub.endpoint for hub in self.hubs]).apply(_as_prefixes))
        self._private_firewall = self._firewall(f"{name}-private", (gateway, ping), child)
        self.register_outputs({})

    def _firewall(self, name: str, rules: tuple[FirewallRule, ...], opts: ResourceOptions) -> Output[str]:
        return self._cloud.firewall(name, self._network, rules, opts)

    def _hub(self, name: str, hub: HubView, opts: ResourceOptions) -> Hub:
        args = HubArgs(
            hub=hub,
            site=self._args.site,
            overlay=self._args.topology.overlay,
            policy=self._args.topology.policy,
            cloud=self._cloud,
            network=self._network,
            firewall_id=self._hub_firewall,
            authority=self._args.authority,
            after=self.hubs[-1].installed if self.hubs else self._args.after,
        )
        return Hub(name, args, opts)

    def place(self, name: str, host: HostView) -> Host:
        """Create a host of this site."""
        args = HostArgs(
            host=host,
            site=self._args.site,
            overlay=self._args.topology.overlay,
            policy=self._args.topology.policy,
            cloud=self._cloud,
            network=self._network,
            firewall_id=self._private_firewall if host.private else self._host_firewall,
            authority=self._args.authority,
            own_hubs=self.hubs,
            gateway=self.hubs[0].machine,
        )
        return Host(name, args, ResourceOptions(parent=self))


def _as_prefixes(addresses: list[str]) -> list[str]:
    return [f"{address}/32" for address in addresses]
