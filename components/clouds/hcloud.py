"""Hetzner Cloud: servers in a network of the site's own. Added as docs/add-a-cloud.md tells it."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pulumi_hcloud as hcloud
from pulumi import Input, Output, ProviderResource, Resource, ResourceOptions

from components.clouds import Account, Firewall, FirewallRule, MachineSpec, SiteNetwork, VirtualMachine, tags
from components.model.facts import CloudFacts, PriceItem
from components.model.topology import SiteView

# https://docs.hetzner.com/cloud/general/locations: location -> the zone that its networks are of.
ZONES = {
    "ash": "us-east",
    "fsn1": "eu-central",
    "hel1": "eu-central",
    "hil": "us-west",
    "nbg1": "eu-central",
    "sin": "ap-southeast",
}
TOKEN = "HCLOUD_TOKEN"
FACTS = CloudFacts(
    regions=tuple(ZONES),
    default_size="cx23",
    default_image="debian-12",
    nat=("hub",),  # Hetzner has no NAT gateway
    accounts=True,
    credentials=((TOKEN,),),
    prices={"public": (PriceItem("address", "ipv4"),)},
)
# Hetzner's own router in each network is its first address. A server with no public address hears of no resolver.
ROUTER = 1
RESOLVERS = ("185.12.64.1", "185.12.64.2")


@dataclass(frozen=True, kw_only=True)
class Network(SiteNetwork):
    """A network with one subnet, and what keeps hubs apart."""

    subnet_id: Output[str]
    placement_group_id: Output[int] | None  # None where there is but one hub


class Cloud:
    """One site at a Hetzner location."""

    def __init__(self, site: SiteView, account: Account) -> None:
        self._site = site

    def network(self, name: str, opts: ResourceOptions) -> Network:
        labels, underlay = self._labels(name), str(self._site.underlay)
        network = hcloud.Network(name, name=name, ip_range=underlay, labels=labels, opts=opts)
        network_id = network.id.apply(int)
        subnet = hcloud.NetworkSubnet(
            name,
            network_id=network_id,
            type="cloud",
            network_zone=ZONES[self._site.region],
            ip_range=underlay,
            opts=opts,
        )
        natives: dict[str, Resource] = {"network": network, "subnet": subnet}
        group_id = None
        if len(self._site.hubs) > 1:
            group = hcloud.PlacementGroup(name, name=name, type="spread", labels=labels, opts=opts)
            natives["placement_group"], group_id = group, group.id.apply(int)
        router = self._site.underlay[ROUTER]
        nameservers = "".join(f"nameserver {address}\\n" for address in RESOLVERS)
        return Network(
            network_id=network.id,
            operator_sources=Output.from_input([]),
            private_boot_commands=[
                f"ip route replace default via {router}",
                f"grep -q ^nameserver /etc/resolv.conf || printf '{nameservers}' >/etc/resolv.conf",
            ],
            natives=natives,
            subnet_id=subnet.id,
            placement_group_id=group_id,
        )

    def firewall(
        self, name: str, network: SiteNetwork, rules: tuple[FirewallRule, ...], opts: ResourceOptions
    ) -> Firewall:
        sources = Output.all(*[rule.sources for rule in rules])
        firewall = hcloud.Firewall(
            name,
            name=name,
            rules=sources.apply(lambda known: _inward(rules, known)),
            labels=self._labels(name),
            opts=opts,
        )
        return Firewall(firewall.id, {"firewall": firewall})

    def launch(self, name: str, network: Network, spec: MachineSpec, opts: ResourceOptions) -> VirtualMachine:
        natives: dict[str, Resource] = {}
        public_net = hcloud.ServerPublicNetArgs(ipv4_enabled=spec.public, ipv6_enabled=False)
        address = Output.from_input("")
        if spec.public:
            # Outlives the server: a hub that is made anew keeps it.
            natives["address"] = kept = hcloud.PrimaryIp(
                name,
                name=name,
                type="ipv4",
                assignee_type="server",
                location=self._site.region,
                auto_delete=False,
                labels=self._labels(name),
                opts=opts,
            )
            public_net.ipv4, address = kept.id.apply(int), kept.ip_address
        apart = spec.apart and network.placement_group_id is not None
        server = hcloud.Server(
            name,
            name=name,
            location=self._site.region,
            server_type=spec.size or FACTS.default_size,
            image=spec.image or FACTS.default_image,
            user_data=spec.user_data,
            public_nets=[public_net],
            networks=[{"subnet_id": network.subnet_id}],
            # Guards the public side only: Hetzner has no firewall within a network.
            firewall_ids=[Output.from_input(spec.firewall.firewall_id).apply(int)] if spec.public else [],
            placement_group_id=network.placement_group_id if apart else None,
            labels=self._labels(name),
            opts=ResourceOptions.merge(
                opts,
                # Names are unique in a project. Image and user_data would replace a server that runs.
                ResourceOptions(delete_before_replace=True, ignore_changes=["image", "userData"]),
            ),
        )
        natives["server"] = server
        inside = server.networks.apply(lambda attached: attached[0].ip)
        return VirtualMachine(server, server.id, address, inside, natives)

    def route_out(
        self, name: str, network: SiteNetwork, gateway: VirtualMachine, opts: ResourceOptions
    ) -> tuple[Resource, ...]:
        route = hcloud.NetworkRoute(
            name,
            network_id=network.network_id.apply(int),
            destination="0.0.0.0/0",
            gateway=gateway.private_address,
            opts=opts,
        )
        return (route,)

    def _labels(self, name: str) -> dict[str, str]:
        """Return the tags as labels, whose keys hold no colon."""
        return {key.replace(":", "-"): value for key, value in tags(self._site, name).items()}


def provider(name: str, site: SiteView, opts: ResourceOptions) -> ProviderResource:
    """Sign in with HCLOUD_TOKEN, or for a named account (Hetzner's projects) with HCLOUD_TOKEN_<ACCOUNT>."""
    named = f"{TOKEN}_{re.sub('[^A-Z0-9]', '_', site.account.upper())}"
    mappings = {named: TOKEN} if site.account else None
    return hcloud.Provider(name, opts=ResourceOptions.merge(opts, ResourceOptions(env_var_mappings=mappings)))


def _inward(rules: tuple[FirewallRule, ...], sources: list[list[str]]) -> list[dict[str, Input[object]]]:
    """Return one rule for each port: Hetzner's take one port or range."""
    return [
        {"direction": "in", "protocol": rule.protocol, "source_ips": list(known)} | ({"port": port} if port else {})
        for rule, known in zip(rules, sources, strict=True)
        for port in (rule.ports or ("",))
        if known
    ]
