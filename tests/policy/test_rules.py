"""The policy pack's rules: each finds what it is there for, and says nothing of a stack of ours."""

from datetime import UTC, datetime, timedelta

import pytest

from policy import rules
from policy.rules import UNKNOWN, Resource
from tests.components.at_clouds import declare_at_clouds, site_values
from tests.components.declared import declare, lab_values

NOW = datetime(2026, 6, 1, tzinfo=UTC)
AWS, LINODE = "aws:ec2/securityGroup:SecurityGroup", "linode:index/firewall:Firewall"
HCLOUD, LAB = "hcloud:index/firewall:Firewall", "lab:index:Firewall"
AWS_RULE, AWS_VPC_RULE = (
    "aws:ec2/securityGroupRule:SecurityGroupRule",
    ("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"),
)
ALL4, ALL6, OFFICE = "0.0.0.0/0", "::/0", "192.0.2.0/24"


def aws(protocol="tcp", low=22, high=22, **sources):
    return {"ingress": [{"protocol": protocol, "fromPort": low, "toPort": high, **sources}]}


def linode(policy="DROP", **rule):
    return {"inboundPolicy": policy, "inbounds": [{"action": "ACCEPT", "protocol": "TCP", **rule}]}


def hcloud(**rule):
    return {"rules": [{"direction": "in", "protocol": "tcp", **rule}]}


def lab(ports, sources, protocol="tcp"):
    return {"rules": [{"protocol": protocol, "ports": ports, "sources": sources}]}


OPEN = {
    "aws": (AWS, aws(cidrBlocks=[OFFICE, ALL4])),
    "aws ipv6": (AWS, aws(ipv6CidrBlocks=[ALL6])),
    "aws range": (AWS, aws(low=0, high=1024, cidrBlocks=[ALL4])),
    "aws all protocols": (AWS, aws(protocol="-1", low=0, high=0, cidrBlocks=[ALL4])),
    "aws in halves": (AWS, aws(cidrBlocks=["0.0.0.0/1", "128.0.0.0/1"])),
    "aws ports not known yet": (AWS, aws(low=UNKNOWN, high=UNKNOWN, cidrBlocks=[ALL4])),
    "aws default group": ("aws:ec2/defaultSecurityGroup:DefaultSecurityGroup", aws(cidrBlocks=[ALL4])),
    "aws rule": (AWS_RULE, {"type": "ingress", **aws(cidrBlocks=[ALL4])["ingress"][0]}),
    "aws vpc rule": (AWS_VPC_RULE, {"ipProtocol": "tcp", "fromPort": 22, "toPort": 22, "cidrIpv6": ALL6}),
    "linode": (LINODE, linode(ports="80,20-30", ipv4s=[ALL4])),
    "linode ipv6": (LINODE, linode(ports="22", ipv6s=[ALL6])),
    "linode all ports": (LINODE, linode(ipv4s=[ALL4])),
    "linode takes what no rule names": (LINODE, linode(policy="ACCEPT", ports="443", ipv4s=[OFFICE])),
    "hcloud": (HCLOUD, hcloud(port="22", sourceIps=[ALL4, ALL6])),
    "hcloud any": (HCLOUD, hcloud(port="1-65535", sourceIps=[ALL6])),
    "lab": (LAB, lab(["22"], [ALL4])),
    "lab all ports": (LAB, lab([], [ALL4])),
}
SHUT = {
    "aws for the office": (AWS, aws(cidrBlocks=[OFFICE])),
    "aws another port": (AWS, aws(low=443, high=443, cidrBlocks=[ALL4])),
    "aws udp": (AWS, aws(protocol="udp", low=0, high=65535, cidrBlocks=[ALL4])),
    "aws ping": (AWS, aws(protocol="icmp", low=-1, high=-1, cidrBlocks=[ALL4])),
    "aws on the way out": (AWS_RULE, {"type": "egress", **aws(protocol="-1", cidrBlocks=[ALL4])["ingress"][0]}),
    "aws not known yet": (AWS, {"ingress": UNKNOWN}),
    "aws sources not known yet": (AWS, aws(cidrBlocks=UNKNOWN)),
    "half of the internet": (AWS, aws(cidrBlocks=["0.0.0.0/1"])),
    "linode for the office": (LINODE, linode(ports="22", ipv4s=[OFFICE])),
    "linode refuses": (LINODE, linode(action="DROP", ports="22", ipv4s=[ALL4])),
    "hcloud on the way out": (HCLOUD, hcloud(direction="out", port="22", sourceIps=[ALL4])),
    "lab tunnels": (LAB, lab(["1194", "20000-20255"], [ALL4], "udp")),
    "no firewall": ("aws:s3/bucket:Bucket", {"ingress": aws(cidrBlocks=[ALL4])["ingress"]}),
}


@pytest.mark.parametrize("kind, props", OPEN.values(), ids=OPEN)
def test_ssh_from_everywhere_is_found_however_it_is_written(kind, props):
    found = list(rules.ssh_from_everywhere(Resource(kind, "hubs", props)))
    assert found and "hubs" in found[0] and ("0.0.0.0/0" in found[0] or "::/0" in found[0])


@pytest.mark.parametrize("kind, props", SHUT.values(), ids=SHUT)
def test_what_is_not_ssh_from_everywhere_is_left_alone(kind, props):
    assert not list(rules.ssh_from_everywhere(Resource(kind, "hubs", props)))


EC2 = "aws:ec2/instance:Instance"


@pytest.mark.parametrize(
    "options, found",
    [
        ({"httpTokens": "required", "httpPutResponseHopLimit": 1}, 0),
        ({"httpTokens": "required"}, 0),
        ({"httpEndpoint": "disabled", "httpTokens": "optional"}, 0),
        ({"httpTokens": "optional"}, 1),
        ({"httpTokens": "required", "httpPutResponseHopLimit": 2}, 1),
        ({}, 1),
        (None, 1),
        (UNKNOWN, 0),
        ({"httpTokens": UNKNOWN}, 0),
    ],
)
def test_an_instance_that_takes_imdsv1_is_found(options, found):
    assert len(list(rules.metadata_without_session(Resource(EC2, "web-1", {"metadataOptions": options})))) == found
    assert not list(rules.metadata_without_session(Resource("other", "web-1", {"metadataOptions": options})))


def pair(kind, *props):
    """A site with as many hubs, each a machine within a component, as in a stack of ours."""
    resources = [Resource(rules.SITE, "oregon", {}, "site")]
    for number, own in enumerate(props):
        resources += [
            Resource(rules.HUB, f"oregon-{number}", {}, f"hub{number}", "site"),
            Resource("vcubev:index:Machine", f"oregon-{number}", {}, f"machine{number}", f"hub{number}"),
            Resource(kind, f"oregon-{number}", own, f"vm{number}", f"machine{number}"),
        ]
    return resources


VM, SERVER = "linode:index/instance:Instance", "hcloud:index/server:Server"
ONE, OTHER = {"placementGroup": {"id": 1}}, {"placementGroup": {"id": 2}}
PAIRS = [
    (EC2, [{"availabilityZone": "a"}, {"availabilityZone": "b"}], 0),
    (EC2, [{"availabilityZone": "a"}, {"availabilityZone": "a"}], 1),
    (EC2, [{"availabilityZone": "a"}], 0),
    (EC2, [{"availabilityZone": "a"}, {}], 0),
    (VM, [ONE, ONE], 0),
    (VM, [ONE, OTHER], 1),
    (VM, [ONE, {"placementGroup": None}], 1),
    (VM, [{}, {}], 1),
    (SERVER, [{"placementGroupId": 7}, {"placementGroupId": 7}], 0),
    (SERVER, [{}, {"placementGroupId": 7}], 1),
    (SERVER, [{"placementGroupId": UNKNOWN}, {"placementGroupId": 7}], 0),
    ("lab:index:Machine", [{}, {}], 0),
]


@pytest.mark.parametrize("kind, props, found", PAIRS)
def test_hubs_that_one_failure_takes_are_found(kind, props, found):
    told = list(rules.hubs_that_fail_together(pair(kind, *props)))
    assert len(told) == found
    assert all("oregon-0 and oregon-1" in message and urn == "site" for message, urn in told)


def test_hosts_may_stand_beside_each_other():
    resources = pair(EC2, {"availabilityZone": "a"}, {"availabilityZone": "b"})
    hosts = [Resource(EC2, f"web-{n}", {"availabilityZone": "a"}, f"h{n}", "site") for n in range(3)]
    assert not list(rules.hubs_that_fail_together([*resources, *hosts]))


def request(name, address, *more):
    return Resource(
        rules.REQUEST, name, {"subject": {"commonName": name, "serialNumber": address}, "ipAddresses": more}
    )


def test_an_address_with_two_owners_is_found_and_a_certificate_renewed_is_none():
    ours = [request("host.web-1", "10.100.1.1", "10.100.1.1"), request("host.web-1", "10.100.1.1")]
    assert not list(rules.shared_addresses(ours))
    told = [message for message, _ in rules.shared_addresses([*ours, request("host.db-1", "10.100.2.1", "10.100.1.1")])]
    assert len(told) == 1 and "10.100.1.1 is in the certificates of host.db-1 and host.web-1" in told[0]


@pytest.mark.parametrize("kind", rules.CERTIFICATES)
@pytest.mark.parametrize("days, soon, over", [(31, 0, 0), (29.5, 1, 0), (0.5, 1, 0), (-0.5, 0, 1), (None, 0, 0)])
def test_a_certificate_that_ends_is_told_in_time_and_one_that_has_ended_stops_everything(kind, days, soon, over):
    end = UNKNOWN if days is None else (NOW + timedelta(days=days)).isoformat().replace("+00:00", "Z")
    resources = [Resource(kind, "web-1-cert", {"validityEndTime": end}, "urn")]
    assert (len(list(rules.ending(resources, NOW))), len(list(rules.ended(resources, NOW)))) == (soon, over)


REGIONS = {"aws": "us-west-2", "linode": "fr-par", "hcloud": "fsn1"}
PAIR = {"hubs": {"a": {"id": 1}, "b": {"id": 2}}}


@pytest.mark.parametrize("cloud", ["lab", *REGIONS])
def test_a_stack_of_ours_keeps_every_rule(cloud):
    made = declare(lab_values()) if cloud == "lab" else declare_at_clouds(site_values(cloud, REGIONS[cloud], **PAIR))
    resources = [Resource(kind, name, args.inputs, f"{kind} {name}") for (kind, name), args in made.made.items()]
    assert any(resource.type in rules.FIREWALLS for resource in resources), "nothing would be looked at"
    assert not [told for resource in resources for told in rules.ssh_from_everywhere(resource)]
    assert not [told for resource in resources for told in rules.metadata_without_session(resource)]
    assert not list(rules.shared_addresses(resources))
