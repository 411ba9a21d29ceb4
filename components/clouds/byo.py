"""Machines of the user's own: any Debian 12 that SSH can reach. Nothing is made, so nothing is paid or taken away.

What a cloud's firewall does elsewhere is the user's to do here: a hub needs its ports open (README), a host none. A
private host is one that its hub reaches, by an address of a network that they share; behind a NAT that forwards
nothing no machine can be set up. templates/machine/prepare.sh.j2 does what cloud-init does elsewhere and remembers how
the machine was; leave.sh.j2 brings that back.
"""

from __future__ import annotations

from pulumi import Output, Resource, ResourceOptions

from components.clouds import Access, Account, Firewall, FirewallRule, MachineSpec, SiteNetwork, VirtualMachine
from components.model.facts import CloudFacts
from components.model.topology import SiteView

FACTS = CloudFacts(brings_machines=True)


class Cloud:
    """One site of machines that were there before."""

    def __init__(self, site: SiteView, account: Account) -> None:
        self._login_private_key = account.login_private_key

    def network(self, name: str, opts: ResourceOptions) -> SiteNetwork:
        return SiteNetwork(network_id=Output.from_input(""), operator_sources=Output.from_input([]))

    def firewall(
        self, name: str, network: SiteNetwork, rules: tuple[FirewallRule, ...], opts: ResourceOptions
    ) -> Firewall:
        return Firewall(Output.from_input(""))

    def launch(self, name: str, network: SiteNetwork, spec: MachineSpec, opts: ResourceOptions) -> VirtualMachine:
        brought = spec.brought
        assert brought is not None, "the stack file's check lets no machine of this cloud be without"
        address, none = Output.from_input(brought.address), Output.from_input("")
        return VirtualMachine(
            resource=None,
            # A machine that is set up anew has another host key, or is no longer the one that the stack file names.
            instance_id=Output.from_input(brought.host_key),
            public_address=address if spec.public else none,
            private_address=none if spec.public else address,
            ssh_port=brought.port,
            access=Access(brought.user, brought.host_key, self._login_private_key),
        )

    def route_out(
        self, name: str, network: SiteNetwork, gateway: VirtualMachine, opts: ResourceOptions
    ) -> tuple[Resource, ...]:
        return ()
