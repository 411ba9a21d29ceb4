"""The lab: machines on this computer, made by the provider plugin in lab/."""

from __future__ import annotations

from pulumi import Output, ResourceOptions

from components.clouds import FirewallRule, MachineSpec, SiteNetwork, VirtualMachine
from components.clouds import lab_sdk as lab

DEFAULT_IMAGE = "debian-12"


class Cloud:
    """One lab "region": an underlay of its own behind its own router."""

    def __init__(self, region: str) -> None:
        self.region = region

    def network(self, name: str, private_prefix: str, opts: ResourceOptions) -> SiteNetwork:
        network = lab.Network(name, private_prefix=private_prefix, opts=opts)
        return SiteNetwork(
            resource=network,
            network_id=network.id,
            operator_sources=network.operator_address.apply(lambda address: [f"{address}/32"]),
        )

    def firewall(
        self, name: str, network: SiteNetwork, rules: tuple[FirewallRule, ...], opts: ResourceOptions
    ) -> Output[str]:
        declared = [{"protocol": r.protocol, "ports": list(r.ports), "sources": r.sources} for r in rules]
        return lab.Firewall(name, network_id=network.network_id, rules=declared, opts=opts).id

    def launch(self, name: str, network: SiteNetwork, spec: MachineSpec, opts: ResourceOptions) -> VirtualMachine:
        machine = lab.Machine(
            name,
            network_id=network.network_id,
            firewall_id=spec.firewall_id,
            image=spec.image or DEFAULT_IMAGE,
            user_data=spec.user_data,
            public=spec.public,
            opts=opts,
        )
        return VirtualMachine(machine, machine.instance_id, machine.public_address, machine.private_address)
