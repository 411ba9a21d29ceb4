"""Amazon Web Services: a VPC over two zones, instances behind network interfaces that outlive them.

There is no key pair: cloud-init carries the login key, and EC2 would only put the same key into another account.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import pulumi_aws as aws
from pulumi import Input, InvokeOptions, Output, ProviderResource, Resource, ResourceOptions

from components.clouds import (
    ANYWHERE,
    Account,
    Firewall,
    FirewallRule,
    MachineSpec,
    SiteNetwork,
    VirtualMachine,
    boot_limit,
    tags,
)
from components.model.facts import CloudFacts, PriceItem
from components.model.topology import SiteView

ZONES = 2
ROOT_VOLUME_GB = 8  # Debian's image takes 2
# https://wiki.debian.org/Cloud/AmazonEC2Image; the same account in all regions of the commercial partition.
DEBIAN_OWNER = "136693071363"
DEBIAN = "debian-12-{arch}-*"
# The letter g right after the generation is AWS's mark for its own ARM processors (m6g, t4g, c7gn; g4dn is none).
ARM_SIZE = re.compile(r"^(a1|[a-z]+\d+g[a-z]*)\.")
# Other partitions have other accounts, another Debian owner, and credentials that don't reach here.
OTHER_PARTITIONS = ("cn-", "us-gov-", "us-iso", "eu-isoe-", "eusc-")
ONE_AT_A_TIME = ResourceOptions(delete_before_replace=True)

FACTS = CloudFacts(
    regions=tuple(sorted(r.value for r in aws.Region if not r.value.startswith(OTHER_PARTITIONS))),
    default_size="t4g.small",
    default_image=DEBIAN,
    # A quarter of it is a subnet, and EC2's smallest is a /28.
    underlay_prefix_lens=range(16, 27),
    nat=("gateway", "hub"),
    takes_vpc=True,
    takes_zones=True,
    zones=ZONES,
    accounts=True,
    credentials=(
        ("AWS_PROFILE",),
        ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN"),
    ),
    prices={
        "machine": (PriceItem("disk", "gp3", ROOT_VOLUME_GB),),
        "public": (PriceItem("address", "public-ipv4"),),
        "nat-gateway": (PriceItem("nat", "nat-gateway"), PriceItem("address", "public-ipv4")),
    },
)


def provider(name: str, site: SiteView, opts: ResourceOptions) -> ProviderResource:
    """Return the provider instance of a site's region; `account` is a profile of ~/.aws/config."""
    return aws.Provider(name, region=site.region, profile=site.account or None, opts=opts)


@dataclass(frozen=True)
class Network(SiteNetwork):
    """A VPC with a public and a private subnet in each zone."""

    public_subnets: tuple[aws.ec2.Subnet, ...] = ()
    private_subnets: tuple[aws.ec2.Subnet, ...] = ()
    private_table: aws.ec2.RouteTable | None = None
    # Without them a machine's first boot finds no packages, and an address in use can't be taken from a VPC.
    public_exit: tuple[Resource, ...] = ()
    private_exit: tuple[Resource, ...] = ()


class Cloud:
    """One site in one region of one account."""

    def __init__(self, site: SiteView, account: Account) -> None:
        self._site = site

    def network(self, name: str, opts: ResourceOptions) -> Network:
        """Make the VPC, or take the one that the stack file names, which must have an internet gateway."""
        natives: dict[str, Resource] = {}
        if self._site.network.vpc:
            vpc_id = Output.from_input(self._site.network.vpc)
            found = aws.ec2.get_internet_gateway_output(
                filters=[aws.ec2.GetInternetGatewayFilterArgs(name="attachment.vpc-id", values=[vpc_id])],
                opts=InvokeOptions(parent=opts.parent),
            )
            gateway_id = found.internet_gateway_id
        else:
            natives["vpc"] = vpc = aws.ec2.Vpc(
                f"{name}-vpc",
                cidr_block=str(self._site.underlay),
                enable_dns_support=True,
                tags=tags(self._site, name),
                opts=opts,
            )
            natives["internet-gateway"] = gateway = aws.ec2.InternetGateway(
                f"{name}-gateway", vpc_id=vpc.id, tags=tags(self._site, name), opts=opts
            )
            vpc_id, gateway_id = vpc.id, gateway.id
        public_table = self._table(f"{name}-public", vpc_id, opts)
        private_table = self._table(f"{name}-private", vpc_id, opts)
        public_subnets, public_joins = self._subnets(f"{name}-public", vpc_id, public_table, 0, opts)
        private_subnets, private_joins = self._subnets(f"{name}-private", vpc_id, private_table, ZONES, opts)
        public_exit = (_way_out(f"{name}-public-out", public_table, opts, gateway_id=gateway_id), *public_joins)
        nat = self._nat(name, public_subnets[0], private_table, public_exit, natives, opts)
        natives |= {"public-table": public_table, "private-table": private_table}
        natives |= {f"public-subnet-{zone}": subnet for zone, subnet in enumerate(public_subnets)}
        natives |= {f"private-subnet-{zone}": subnet for zone, subnet in enumerate(private_subnets)}
        return Network(
            network_id=vpc_id,
            operator_sources=Output.from_input([]),
            natives=natives,
            public_subnets=public_subnets,
            private_subnets=private_subnets,
            private_table=private_table,
            public_exit=public_exit,
            private_exit=(*nat, *private_joins),
        )

    def firewall(
        self, name: str, network: SiteNetwork, rules: tuple[FirewallRule, ...], opts: ResourceOptions
    ) -> Firewall:
        # In the group itself, for how many rules there are may follow from what is known after `up` only.
        ingress = Output.all(*[rule.sources for rule in rules]).apply(
            lambda sources: [
                entry
                for rule, prefixes in zip(rules, sources, strict=True)
                if prefixes  # EC2 takes no rule without a source
                for entry in _ingress(rule, prefixes)
            ]
        )
        group = aws.ec2.SecurityGroup(
            name,
            description=f"vcubev {name}",
            vpc_id=network.network_id,
            ingress=ingress,
            egress=[aws.ec2.SecurityGroupEgressArgs(protocol="-1", from_port=0, to_port=0, cidr_blocks=list(ANYWHERE))],
            tags=tags(self._site, name),
            opts=opts,
        )
        return Firewall(group.id, {"group": group})

    def launch(self, name: str, network: Network, spec: MachineSpec, opts: ResourceOptions) -> VirtualMachine:
        subnets = network.public_subnets if spec.public else network.private_subnets
        # Address and routes are the interface's: a successor of the instance has them from its first moment.
        interface = aws.ec2.NetworkInterface(
            f"{name}-interface",
            subnet_id=subnets[spec.zone % ZONES].id,
            security_groups=[spec.firewall.firewall_id],
            source_dest_check=not spec.forwards,
            tags=tags(self._site, name),
            opts=ResourceOptions.merge(opts, ONE_AT_A_TIME),
        )
        natives: dict[str, Resource] = {"interface": interface}
        after: tuple[Resource, ...] = network.private_exit
        public_address: Output[str] = Output.from_input("")
        if spec.public:
            natives["address"] = address = aws.ec2.Eip(
                f"{name}-address",
                domain="vpc",
                network_interface=interface.id,
                tags=tags(self._site, name),
                opts=ResourceOptions.merge(opts, ResourceOptions(depends_on=list(network.public_exit))),
            )
            after, public_address = (address,), address.public_ip
        natives["instance"] = instance = self._instance(name, interface, spec, after, opts)
        return VirtualMachine(instance, instance.id, public_address, interface.private_ip, natives)

    def route_out(
        self, name: str, network: Network, gateway: VirtualMachine, opts: ResourceOptions
    ) -> tuple[Resource, ...]:
        assert network.private_table is not None
        return (_way_out(name, network.private_table, opts, network_interface_id=gateway.natives["interface"].id),)

    def _instance(
        self,
        name: str,
        interface: aws.ec2.NetworkInterface,
        spec: MachineSpec,
        after: tuple[Resource, ...],
        opts: ResourceOptions,
    ) -> aws.ec2.Instance:
        size = spec.size or FACTS.default_size
        # The check of sources is its interface's to say. The instance may not say it as well (#34123), and its default,
        # on, would be written through to the interface at each change (#44768, open; both hashicorp/
        # terraform-provider-aws). An image that the stack file names is a choice, the newest Debian is not.
        kept = ["user_data", "source_dest_check", *([] if spec.image else ["ami"])]
        return aws.ec2.Instance(
            name,
            ami=spec.image or self._newest_debian(size, opts),
            instance_type=size,
            primary_network_interface=aws.ec2.InstancePrimaryNetworkInterfaceArgs(network_interface_id=interface.id),
            user_data=spec.user_data,
            user_data_replace_on_change=False,
            metadata_options=aws.ec2.InstanceMetadataOptionsArgs(
                http_endpoint="enabled", http_tokens="required", http_put_response_hop_limit=1
            ),
            root_block_device=aws.ec2.InstanceRootBlockDeviceArgs(
                encrypted=True,
                volume_type="gp3",
                volume_size=ROOT_VOLUME_GB,
                delete_on_termination=True,
                tags=tags(self._site, name),
            ),
            tags=tags(self._site, name),
            opts=ResourceOptions.merge(
                ResourceOptions.merge(opts, ONE_AT_A_TIME),
                ResourceOptions(
                    ignore_changes=kept, depends_on=list(after), custom_timeouts=boot_limit(spec.boot_seconds)
                ),
            ),
        )

    def _newest_debian(self, size: str, opts: ResourceOptions) -> Output[str]:
        arch = "arm64" if ARM_SIZE.match(size) else "amd64"
        return aws.ec2.get_ami_output(
            owners=[DEBIAN_OWNER],
            most_recent=True,
            filters=[aws.ec2.GetAmiFilterArgs(name="name", values=[DEBIAN.format(arch=arch)])],
            opts=InvokeOptions(parent=opts.parent),
        ).id

    def _table(self, name: str, vpc_id: Output[str], opts: ResourceOptions) -> aws.ec2.RouteTable:
        return aws.ec2.RouteTable(f"{name}-table", vpc_id=vpc_id, tags=tags(self._site, name), opts=opts)

    def _subnets(
        self, name: str, vpc_id: Output[str], table: aws.ec2.RouteTable, first: int, opts: ResourceOptions
    ) -> tuple[tuple[aws.ec2.Subnet, ...], tuple[Resource, ...]]:
        """Return one subnet a zone, with what joins them to a route table; `first` is their place in the underlay."""
        prefixes = list(self._site.underlay.subnets(new_prefix=self._site.underlay.prefixlen + 2))[first:]
        zones: Output[list[str]] = Output.from_input(list(self._site.network.zones))
        if not self._site.network.zones:
            found = aws.get_availability_zones_output(
                state="available",
                # Without local zones, which cost more and lack most sizes.
                filters=[aws.GetAvailabilityZonesFilterArgs(name="opt-in-status", values=["opt-in-not-required"])],
                opts=InvokeOptions(parent=opts.parent),
            )
            zones = found.names
        subnets, joins = [], []
        for zone in range(ZONES):
            subnet = aws.ec2.Subnet(
                f"{name}-{zone}",
                vpc_id=vpc_id,
                cidr_block=str(prefixes[zone]),
                availability_zone=zones[zone],
                tags=tags(self._site, f"{name}-{zone}"),
                # A new zone of the region must not move what stands in the old ones.
                opts=ResourceOptions.merge(
                    opts, ResourceOptions(ignore_changes=[] if self._site.network.zones else ["availability_zone"])
                ),
            )
            join = aws.ec2.RouteTableAssociation(
                f"{name}-{zone}-table", subnet_id=subnet.id, route_table_id=table.id, opts=opts
            )
            subnets.append(subnet)
            joins.append(join)
        return tuple(subnets), tuple(joins)

    def _nat(
        self,
        name: str,
        subnet: aws.ec2.Subnet,
        private_table: aws.ec2.RouteTable,
        public_exit: tuple[Resource, ...],
        natives: dict[str, Resource],
        opts: ResourceOptions,
    ) -> tuple[Resource, ...]:
        """Make a NAT gateway where private hosts need one; it costs as much as some machines. One serves both zones."""
        if self._site.network.nat != "gateway" or not any(host.private for host in self._site.hosts):
            return ()
        after = ResourceOptions.merge(opts, ResourceOptions(depends_on=list(public_exit)))
        own = tags(self._site, f"{name}-nat")
        natives["nat-address"] = address = aws.ec2.Eip(f"{name}-nat-address", domain="vpc", tags=own, opts=after)
        natives["nat-gateway"] = gateway = aws.ec2.NatGateway(
            f"{name}-nat", allocation_id=address.allocation_id, subnet_id=subnet.id, tags=own, opts=after
        )
        return (_way_out(f"{name}-private-out", private_table, opts, nat_gateway_id=gateway.id),)


def _way_out(name: str, table: aws.ec2.RouteTable, opts: ResourceOptions, **target: Input[str]) -> aws.ec2.Route:
    return aws.ec2.Route(name, route_table_id=table.id, destination_cidr_block=ANYWHERE[0], opts=opts, **target)


def _ingress(rule: FirewallRule, sources: list[str]) -> list[aws.ec2.SecurityGroupIngressArgs]:
    ranges = [(int(low), int(high or low)) for low, _, high in (ports.partition("-") for ports in rule.ports)]
    return [
        aws.ec2.SecurityGroupIngressArgs(protocol=rule.protocol, from_port=low, to_port=high, cidr_blocks=list(sources))
        for low, high in ranges or [(-1, -1)]  # icmp: every type and code
    ]
