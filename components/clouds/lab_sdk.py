"""Resources of the provider plugin in lab/, as the program declares them. All values are known after `up` only."""

from __future__ import annotations

from typing import Any

from pulumi import CustomResource, Input, Output, ProviderResource, ResourceOptions

# A successor takes over its predecessor's name and address, so the two cannot stand side by side.
ONE_AT_A_TIME = ResourceOptions(delete_before_replace=True)


class Provider(ProviderResource):
    """An instance of the plugin, for programs that give each site one of its own. All are this one computer."""

    def __init__(self, name: str, opts: ResourceOptions | None = None) -> None:
        super().__init__("lab", name, {}, opts)


class Network(CustomResource):
    """A site's underlay: a router with NAT, on an internet that leads nowhere else.

    A new `private_prefix` makes a new network.
    """

    private_prefix: Output[str]
    operator_address: Output[str]  # the address from which the operator's computer reaches the machines
    public_prefix: Output[str]
    running: Output[bool]

    def __init__(self, name: str, private_prefix: Input[str], opts: ResourceOptions | None = None) -> None:
        inputs = {"private_prefix": private_prefix}
        outputs = dict.fromkeys(("operator_address", "public_prefix", "running"))
        super().__init__("lab:index:Network", name, {**inputs, **outputs}, ResourceOptions.merge(ONE_AT_A_TIME, opts))


class Firewall(CustomResource):
    """What may come in to machines, from other networks and from their own; replies pass, and all that goes out.

    Each rule has `protocol` ("tcp", "udp" or "icmp"), `ports` ("22" or "20000-20255"; none for icmp) and `sources`
    (CIDRs; IPv6 ones match nothing, for the lab's underlay has none). Changed rules reach all machines at once.
    """

    network_id: Output[str]
    rules: Output[list[dict[str, Any]]]

    def __init__(
        self,
        name: str,
        network_id: Input[str],
        rules: Input[list[Input[dict[str, Any]]]],
        opts: ResourceOptions | None = None,
    ) -> None:
        inputs = {"network_id": network_id, "rules": rules}
        super().__init__("lab:index:Firewall", name, inputs, ResourceOptions.merge(ONE_AT_A_TIME, opts))


class Machine(CustomResource):
    """A machine, with an address in its network and, if it is public, one more; it keeps both when it is made anew.

    Another `firewall_id` is taken in place; any other change makes a new machine with an empty disk.
    """

    instance_id: Output[str]  # changes when, and only when, the disk is a new one
    public_address: Output[str]  # "" if private
    private_address: Output[str]
    running: Output[bool]

    def __init__(
        self,
        name: str,
        network_id: Input[str],
        firewall_id: Input[str],
        image: Input[str],
        user_data: Input[str],
        public: Input[bool],
        opts: ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "network_id": network_id,
            "firewall_id": firewall_id,
            "image": image,
            "user_data": user_data,
            "public": public,
        }
        outputs = dict.fromkeys(("instance_id", "public_address", "private_address", "running"))
        super().__init__("lab:index:Machine", name, {**inputs, **outputs}, ResourceOptions.merge(ONE_AT_A_TIME, opts))
