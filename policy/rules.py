"""The rules of the policy pack, over resources as the engine shows them. Pure: no engine, no network, no clock.

A value that is not known before `up` is UNKNOWN; what depends on one is judged when it is known.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import collapse_addresses, ip_network
from typing import Any, Final

UNKNOWN: Final = type("Unknown", (), {"__repr__": lambda self: "unknown"})()
SSH_PORT = 22
EVERY_PORT = (0, 65535)
WARN_DAYS = 30
HUB, SITE = "vcubev:index:Hub", "vcubev:index:Site"
REQUEST = "tls:index/certRequest:CertRequest"
CERTIFICATES = ("tls:index/selfSignedCert:SelfSignedCert", "tls:index/locallySignedCert:LocallySignedCert")


@dataclass(frozen=True)
class Resource:
    """One resource: its inputs before `up`, its outputs after."""

    type: str
    name: str
    props: Mapping[str, Any] = field(default_factory=dict)
    urn: str = ""
    parent: str = ""  # urn


@dataclass(frozen=True)
class Opening:
    """What one rule of a firewall lets in."""

    protocol: str  # "tcp", "udp", "icmp", or "-1" and the like for all
    ports: tuple[int, int]  # from, to
    sources: Sequence[str]  # CIDRs


# No SSH from everywhere


def ssh_from_everywhere(resource: Resource) -> Iterator[str]:
    """Say how a firewall opens SSH to the whole internet, IPv4 or IPv6, if it does."""
    read = FIREWALLS.get(resource.type)
    if read is None:
        return
    for opening in read(resource.props):
        low, high = opening.ports
        if opening.protocol.lower() not in ("tcp", "6", "-1", "all", "any") or not low <= SSH_PORT <= high:
            continue
        if whole := everywhere(opening.sources):
            cure = "Name the operators' prefixes: vcubev:operators in the stack file."
            yield f"{resource.name} lets SSH (port {SSH_PORT}/tcp) in from {whole}. {cure}"


def everywhere(sources: Iterable[object]) -> str:
    """Return "0.0.0.0/0" or "::/0" if these prefixes together are the whole internet; else ""."""
    networks = [ip_network(str(source), strict=False) for source in _known(sources) if "/" in str(source)]
    for version in (4, 6):
        for network in collapse_addresses(n for n in networks if n.version == version):
            if network.prefixlen == 0:
                return str(network)
    return ""


def _aws_group(props: Mapping[str, Any]) -> Iterator[Opening]:
    for rule in _known(props.get("ingress")):
        yield _aws_rule(rule, [*_known(rule.get("cidrBlocks")), *_known(rule.get("ipv6CidrBlocks"))])


def _aws_single(props: Mapping[str, Any]) -> Iterator[Opening]:
    if props.get("type", "ingress") == "ingress":
        yield _aws_rule(props, [*_known(props.get("cidrBlocks")), *_known(props.get("ipv6CidrBlocks"))])


def _aws_vpc_rule(props: Mapping[str, Any]) -> Iterator[Opening]:
    rule = {**props, "protocol": props.get("ipProtocol")}
    yield _aws_rule(rule, list(_known([props.get("cidrIpv4"), props.get("cidrIpv6")])))


def _aws_rule(rule: Mapping[str, Any], sources: list[str]) -> Opening:
    low, high = (rule.get(end) for end in ("fromPort", "toPort"))
    # All protocols are all ports, whatever stands there; what is not known yet may be any.
    numbers = isinstance(low, (int, float)) and isinstance(high, (int, float)) and str(rule.get("protocol")) != "-1"
    return Opening(str(rule.get("protocol")), (int(low), int(high)) if numbers else EVERY_PORT, sources)


def _linode(props: Mapping[str, Any]) -> Iterator[Opening]:
    for rule in _known(props.get("inbounds")):
        sources = [*_known(rule.get("ipv4s")), *_known(rule.get("ipv6s"))]
        for ports in _ranges(str(rule.get("ports") or "").split(",")):
            if rule.get("action") == "ACCEPT":
                yield Opening(str(rule.get("protocol")), ports, sources)
    if props.get("inboundPolicy") == "ACCEPT":
        yield Opening("tcp", EVERY_PORT, ["0.0.0.0/0"])


def _hcloud(props: Mapping[str, Any]) -> Iterator[Opening]:
    for rule in _known(props.get("rules")):
        if rule.get("direction") == "in":
            for ports in _ranges([str(rule.get("port") or "")]):
                yield Opening(str(rule.get("protocol")), ports, list(_known(rule.get("sourceIps"))))


def _lab(props: Mapping[str, Any]) -> Iterator[Opening]:
    for rule in _known(props.get("rules")):
        for ports in _ranges(_known(rule.get("ports")) or [""]):
            yield Opening(str(rule.get("protocol")), ports, list(_known(rule.get("sources"))))


def _ranges(texts: Iterable[str]) -> Iterator[tuple[int, int]]:
    for text in texts:
        low, _, high = text.strip().partition("-")
        yield (int(low), int(high or low)) if low.isdecimal() else EVERY_PORT


FIREWALLS: Mapping[str, Callable[[Mapping[str, Any]], Iterator[Opening]]] = {
    "aws:ec2/securityGroup:SecurityGroup": _aws_group,
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": _aws_group,
    "aws:ec2/securityGroupRule:SecurityGroupRule": _aws_single,
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": _aws_vpc_rule,
    "linode:index/firewall:Firewall": _linode,
    "hcloud:index/firewall:Firewall": _hcloud,
    "lab:index:Firewall": _lab,
}


# Metadata


def metadata_without_session(resource: Resource) -> Iterator[str]:
    """Say if an EC2 instance serves its metadata to whoever can make it fetch an address (IMDSv1)."""
    if resource.type not in ("aws:ec2/instance:Instance", "aws:ec2/launchTemplate:LaunchTemplate"):
        return
    options = resource.props.get("metadataOptions")
    if options is UNKNOWN:
        return
    options = options or {}
    if options.get("httpEndpoint") == "disabled" or UNKNOWN in (options.get("httpTokens"), options.get("httpEndpoint")):
        return
    if options.get("httpTokens") != "required":
        yield f"{resource.name} takes IMDSv1. Set metadataOptions.httpTokens to required."
    hops = options.get("httpPutResponseHopLimit")
    if hops is not UNKNOWN and hops is not None and hops > 1:
        yield f"{resource.name} sends metadata tokens {int(hops)} hops far, into containers. The limit is 1."


# The whole stack


def hubs_that_fail_together(resources: Iterable[Resource]) -> Iterator[tuple[str, str]]:
    """Yield (message, urn) for each site whose hubs all stand where one failure takes them."""
    all_of_them = list(resources)
    by_urn = {resource.urn: resource for resource in all_of_them}
    places: dict[str, dict[str, object]] = defaultdict(dict)  # site's urn -> hub -> where it stands
    for resource in all_of_them:
        where = PLACES.get(resource.type)
        if where is None:
            continue
        above = list(_ancestors(resource, by_urn))
        hub = next((each for each in above if each.type == HUB), None)
        site = next((each for each in above if each.type == SITE), None)
        if hub and site:
            places[site.urn][hub.name] = where(resource.props)
    for urn, hubs in places.items():
        if len(hubs) < 2 or UNKNOWN in hubs.values():
            continue
        standing = set(hubs.values())
        if all(isinstance(place, _Group) for place in standing):
            apart = len(standing) == 1
        else:
            apart = len(standing) > 1 and all(isinstance(place, str) for place in standing)
        if not apart:
            named = " and ".join(sorted(hubs))
            cure = "Name two zones (network.zones, hubs.NAME.zone), or give them one anti-affinity placement group."
            yield f"hubs {named} stand in one failure zone. {cure}", urn


@dataclass(frozen=True)
class _Group:
    """A placement group, whose members the cloud keeps on different hardware."""

    id: str


def _zone(props: Mapping[str, Any]) -> object:
    return props.get("availabilityZone", UNKNOWN)  # an output


def _linode_group(props: Mapping[str, Any]) -> object:
    group = props.get("placementGroup")
    return _group(group.get("id") if isinstance(group, Mapping) else group)


def _hcloud_group(props: Mapping[str, Any]) -> object:
    return _group(props.get("placementGroupId"))


def _group(identity: object) -> object:
    return identity if identity is UNKNOWN else _Group(str(identity)) if identity else None


PLACES: Mapping[str, Callable[[Mapping[str, Any]], object]] = {
    "aws:ec2/instance:Instance": _zone,
    "linode:index/instance:Instance": _linode_group,
    "hcloud:index/server:Server": _hcloud_group,
}


def _ancestors(resource: Resource, by_urn: Mapping[str, Resource]) -> Iterator[Resource]:
    while (above := by_urn.get(resource.parent)) is not None:
        yield above
        resource = above


def shared_addresses(resources: Iterable[Resource]) -> Iterator[tuple[str, str]]:
    """Yield (message, urn) for each virtual address that is asked for in certificates of two names."""
    owners: dict[str, dict[str, str]] = defaultdict(dict)  # address -> name -> urn
    for resource in resources:
        subject = resource.props.get("subject") if resource.type == REQUEST else None
        if not isinstance(subject, Mapping):
            continue
        name = str(subject.get("commonName"))
        for address in {subject.get("serialNumber"), *_known(resource.props.get("ipAddresses"))} - {None, UNKNOWN}:
            owners[address][name] = resource.urn
    for address, names in sorted(owners.items()):
        if len(names) > 1:
            told = " and ".join(sorted(names))
            yield f"{address} is in the certificates of {told}. Give one of them another id.", names[max(names)]


def certificates_left(resources: Iterable[Resource], now: datetime) -> Iterator[tuple[float, str, str]]:
    """Yield (days left, name, urn) of each certificate whose end is known.

    Args:
        now: With a time zone.
    """
    for resource in resources:
        end = resource.props.get("validityEndTime") if resource.type in CERTIFICATES else None
        if isinstance(end, str) and end:
            left = datetime.fromisoformat(end.replace("Z", "+00:00")) - now
            yield left.total_seconds() / 86_400, resource.name, resource.urn


def ending(resources: Iterable[Resource], now: datetime) -> Iterator[tuple[str, str]]:
    """Yield (message, urn) for each certificate that ends soon."""
    for days, name, urn in certificates_left(resources, now):
        if 0 < days <= WARN_DAYS:
            yield f"{name} ends in {days:.0f} days. Run `up`: it renews what is due (vcubev:certificates).", urn


def ended(resources: Iterable[Resource], now: datetime) -> Iterator[tuple[str, str]]:
    """Yield (message, urn) for each certificate that has ended."""
    for days, name, urn in certificates_left(resources, now):
        if days <= 0:
            yield f"{name} ended {-days:.0f} days ago: nobody takes it any more. Run `up`, or rotate it.", urn


def _known(values: object) -> list[Any]:
    """Return what is known of a list; [] for none."""
    if values is None or values is UNKNOWN or isinstance(values, str):
        return []
    return [value for value in values if value is not None and value is not UNKNOWN]  # type: ignore[attr-defined]
