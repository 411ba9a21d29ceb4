"""The lab: machines on this computer, made by the provider plugin in lab/."""

from __future__ import annotations

from pulumi import Resource, ResourceOptions

from components.clouds import Account, Firewall, FirewallRule, MachineSpec, SiteNetwork, VirtualMachine
from components.clouds import lab_sdk as lab
from components.model.facts import CloudFacts
from components.model.topology import SiteView

FACTS = CloudFacts(default_size="container", default_image="debian-12", sees_operator=True, has_resolver=False)


class Cloud:
    """One lab "region": an underlay of its own behind its own router, which is the NAT of private machines."""

    def __init__(self, site: SiteView, account: Account) -> None:
        self._site = site

    def network(self, name: str, opts: ResourceOptions) -> SiteNetwork:
        network = lab.Network(name, private_prefix=str(self._site.underlay), opts=opts)
        return SiteNetwork(
            network_id=network.id,
            operator_sources=network.operator_address.apply(lambda address: [f"{address}/32"]),
            natives={"network": network},
        )

    def firewall(
        self, name: str, network: SiteNetwork, rules: tuple[FirewallRule, ...], opts: ResourceOptions
    ) -> Firewall:
        declared = [{"protocol": r.protocol, "ports": list(r.ports), "sources": r.sources} for r in rules]
        firewall = lab.Firewall(name, network_id=network.network_id, rules=declared, opts=opts)
        return Firewall(firewall.id, {"firewall": firewall})

    def launch(self, name: str, network: SiteNetwork, spec: MachineSpec, opts: ResourceOptions) -> VirtualMachine:
        machine = lab.Machine(
            name,
            network_id=network.network_id,
            firewall_id=spec.firewall.firewall_id,
            image=spec.image or FACTS.default_image,
            user_data=spec.user_data,
            public=spec.public,
            opts=opts,
        )
        return VirtualMachine(
            machine, machine.instance_id, machine.public_address, machine.private_address, {"machine": machine}
        )

    def route_out(
        self, name: str, network: SiteNetwork, gateway: VirtualMachine, opts: ResourceOptions
    ) -> tuple[Resource, ...]:
        return ()
