"""Linode (Akamai): instances in a VPC of the site's own, behind Cloud Firewalls. Its limits: docs/add-a-cloud.md."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass

import pulumi_linode as linode
from pulumi import Input, Output, ProviderResource, Resource, ResourceOptions

from components.clouds import (
    Account,
    Firewall,
    FirewallRule,
    MachineSpec,
    SiteNetwork,
    VirtualMachine,
    boot_limit,
    tags,
)
from components.model.facts import CloudFacts
from components.model.topology import SiteView

# Core regions with the Metadata service and placement groups, as recordings of the API in linode/linodego show them
# (676b9db, TestRegions_List); the API itself was not asked. Whether the eleven oldest, those named by the compass, have
# VPCs differs between the recordings; where there is none Linode refuses it.
REGIONS = (
    "ap-northeast",
    "ap-south",
    "ap-southeast",
    "ap-west",
    "au-mel",
    "br-gru",
    "ca-central",
    "de-fra-2",
    "es-mad",
    "eu-central",
    "eu-west",
    "fr-par",
    "fr-par-2",
    "gb-lon",
    "id-cgk",
    "in-bom-2",
    "in-maa",
    "it-mil",
    "jp-osa",
    "jp-tyo-3",
    "nl-ams",
    "no-osl-1",
    "se-sto",
    "sg-sin-2",
    "us-central",
    "us-east",
    "us-iad",
    "us-iad-2",
    "us-lax",
    "us-mia",
    "us-ord",
    "us-sea",
    "us-southeast",
    "us-west",
)
TOKEN = "LINODE_TOKEN"
FACTS = CloudFacts(
    regions=REGIONS,
    default_size="g6-nanode-1",
    default_image="linode/debian12",
    # A subnet loses four addresses to Linode: the first two and the last two.
    underlay_prefix_lens=range(16, 29),
    nat=("hub",),  # Linode has no NAT gateway
    takes_vpc=True,
    accounts=True,
    credentials=((TOKEN,),),
)
MACHINE_LABEL_LONGEST, FIREWALL_LABEL_LONGEST = 64, 32
# Linode's own router in each subnet is the first address after the network's, and the last two are its own as well. It
# gives machines the lowest that is free, so the hub's constant address is the highest: none that comes first takes it.
ROUTER, LAST_FREE = 1, -3
METADATA = "169.254.169.254/32"
# Linode asks for a password or a key for root with every image. A password would lie in the state; this key is no
# one's: made of a text, not of a private key. Who may log in is in user_data.
NOBODY = b"\0\0\0\x0bssh-ed25519\0\0\0 " + hashlib.sha256(b"vcubev: a key that is no one's").digest()
NOBODYS_KEY = f"ssh-ed25519 {base64.b64encode(NOBODY).decode()}"


@dataclass(frozen=True, kw_only=True)
class LinodeNetwork(SiteNetwork):
    """A VPC's subnet, and what keeps hubs apart."""

    subnet_id: Output[int]
    placement_group_id: Output[int] | None  # None where there is but one hub


class Cloud:
    """One site in a Linode region."""

    def __init__(self, site: SiteView, account: Account) -> None:
        self._site = site

    def network(self, name: str, opts: ResourceOptions) -> LinodeNetwork:
        natives: dict[str, Resource] = {}
        if self._site.network.vpc:
            vpc_id = Output.from_input(int(self._site.network.vpc))
        else:
            # VPCs carry no tags; scripts/leftovers reads the description.
            told = " ".join(_tags(self._site, name))
            natives["vpc"] = linode.Vpc(name, label=_label(name), region=self._site.region, description=told, opts=opts)
            vpc_id = natives["vpc"].id.apply(int)
        subnet = linode.VpcSubnet(name, vpc_id=vpc_id, label=_label(name), ipv4=str(self._site.underlay), opts=opts)
        natives["subnet"] = subnet
        group_id = None
        if len(self._site.hubs) > 1:
            group = linode.PlacementGroup(
                name,
                label=_label(name),
                region=self._site.region,
                placement_group_type="anti_affinity:local",
                # A region that is full must not keep a lost hub from coming back.
                placement_group_policy="flexible",
                opts=opts,
            )
            natives["placement_group"], group_id = group, group.id.apply(int)
        return LinodeNetwork(
            network_id=vpc_id.apply(str),
            operator_sources=Output.from_input([]),
            private_boot_commands=self._ways_out(),
            natives=natives,
            subnet_id=subnet.id.apply(int),
            placement_group_id=group_id,
        )

    def firewall(
        self, name: str, network: SiteNetwork, rules: tuple[FirewallRule, ...], opts: ResourceOptions
    ) -> Firewall:
        sources = Output.all(*[rule.sources for rule in rules])
        firewall = linode.Firewall(
            name,
            label=_label(name, FIREWALL_LABEL_LONGEST),
            inbounds=sources.apply(lambda known: _inbounds(rules, known)),
            inbound_policy="DROP",
            outbound_policy="ACCEPT",
            tags=_tags(self._site, name),
            opts=opts,
        )
        return Firewall(firewall.id, {"firewall": firewall})

    def launch(self, name: str, network: LinodeNetwork, spec: MachineSpec, opts: ResourceOptions) -> VirtualMachine:
        vpc = linode.InstanceInterfaceArgs(purpose="vpc", subnet_id=network.subnet_id, primary=not spec.public)
        if spec.gateway:
            vpc.ipv4 = linode.InstanceInterfaceIpv4Args(vpc=str(self._site.underlay[LAST_FREE]))
        public = linode.InstanceInterfaceArgs(purpose="public", primary=True)
        apart = spec.apart and network.placement_group_id is not None
        instance = linode.Instance(
            name,
            label=_label(name),
            region=self._site.region,
            type=spec.size or FACTS.default_size,
            image=spec.image or FACTS.default_image,
            authorized_keys=[NOBODYS_KEY],
            metadatas=[{"user_data": Output.from_input(spec.user_data).apply(_base64)}],
            # The older kind of interfaces is the one that every account and region has; all of a machine's are behind
            # its one firewall, from its first moment.
            interface_generation="legacy_config",
            interfaces=[public, vpc] if spec.public else [vpc],
            firewall_id=Output.from_input(spec.firewall.firewall_id).apply(int),
            placement_group={"id": network.placement_group_id} if apart else None,
            disk_encryption="enabled",
            tags=_tags(self._site, name),
            opts=ResourceOptions.merge(
                opts,
                # Labels are unique in an account. Image and user_data would replace a machine that runs.
                ResourceOptions(
                    delete_before_replace=True,
                    ignore_changes=["image", "metadatas", "authorizedKeys"],
                    custom_timeouts=boot_limit(spec.boot_seconds),
                ),
            ),
        )
        inside = instance.interfaces.apply(lambda all_of_them: all_of_them[-1].ipv4.vpc)
        return VirtualMachine(
            resource=instance,
            instance_id=instance.id,
            # With no private_ip asked for, its one public address is all that is in there.
            public_address=instance.ipv4s.apply(lambda own: own[0]) if spec.public else Output.from_input(""),
            private_address=inside,
            natives={"instance": instance},
        )

    def route_out(
        self, name: str, network: SiteNetwork, gateway: VirtualMachine, opts: ResourceOptions
    ) -> tuple[Resource, ...]:
        return ()  # VPCs have no route tables: private machines themselves use the hub, see _ways_out

    def _ways_out(self) -> list[str]:
        """Send all but metadata through the gateway hub. It has a constant address, for boot data is constant."""
        router = self._site.underlay[ROUTER]
        return [
            f"ip route replace {METADATA} via {router}",
            f"ip route replace default via {self._site.underlay[LAST_FREE]}",
        ]


def provider(name: str, site: SiteView, opts: ResourceOptions) -> ProviderResource:
    """Sign in with LINODE_TOKEN, or for a named account with LINODE_TOKEN_<ACCOUNT>. The plugin reads it from its
    environment, so that it comes into no input and no state."""
    mappings = {token_variable(site.account): TOKEN} if site.account else None
    return linode.Provider(name, opts=ResourceOptions.merge(opts, ResourceOptions(env_var_mappings=mappings)))


def token_variable(account: str) -> str:
    """Return the environment variable that holds an account's token."""
    return f"{TOKEN}_{re.sub('[^A-Z0-9]', '_', account.upper())}" if account else TOKEN


def _inbounds(rules: tuple[FirewallRule, ...], sources: list[list[str]]) -> list[dict[str, Input[object]]]:
    opened = []
    for rule, known in zip(rules, sources, strict=True):
        if known:  # Linode takes no rule for nobody
            inbound = {
                "label": f"{rule.protocol}-{len(opened)}",
                "action": "ACCEPT",
                "protocol": rule.protocol.upper(),
                "ipv4s": list(known),
            }
            opened.append(inbound | ({"ports": ",".join(rule.ports)} if rule.ports else {}))
    return opened


def _tags(site: SiteView, name: str) -> list[str]:
    return [f"{key}={value}" for key, value in tags(site, name).items() if key.startswith("vcubev:")]


def _label(name: str, longest: int = MACHINE_LABEL_LONGEST) -> str:
    """Return a name as Linode takes it: no doubled hyphen, and short; one that differs from its name stays unique."""
    plain = re.sub("-+", "-", name)
    if plain == name and len(name) <= longest:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:6]
    return f"{plain[: longest - 7].rstrip('-')}-{digest}"


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
