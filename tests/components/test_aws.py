"""What is AWS's own: see docs of each in components/clouds/aws.py."""

import pytest

from components.clouds.aws import DEBIAN_OWNER
from tests.components.declared import OUTPUTS, declare, digest_of, lab_values

INSTANCE, INTERFACE = "aws:ec2/instance:Instance", "aws:ec2/networkInterface:NetworkInterface"
GROUP, ROUTE, SUBNET = "aws:ec2/securityGroup:SecurityGroup", "aws:ec2/route:Route", "aws:ec2/subnet:Subnet"
EIP, NAT, VPC = "aws:ec2/eip:Eip", "aws:ec2/natGateway:NatGateway", "aws:ec2/vpc:Vpc"
TAGGED = (INSTANCE, INTERFACE, GROUP, SUBNET, EIP, NAT, VPC, "aws:ec2/routeTable:RouteTable")
OPERATOR = "203.0.113.0/24"


def values():
    """Oregon at AWS with a pair of hubs, Paris in the lab."""
    stack = lab_values()
    stack["operators"] = [OPERATOR]
    stack["sites"]["oregon"] |= {"cloud": "aws", "region": "us-west-2"}
    stack["sites"]["oregon"]["hubs"] = {"a": {"id": 1}, "b": {"id": 4}}
    return stack


def with_network(**network):
    stack = values()
    stack["sites"]["oregon"] |= {"network": network, "underlay": "10.20.0.0/20"}
    return declare(stack)


@pytest.fixture(scope="module")
def aws():
    return declare(values(), signed_in=True)


def opened(group):
    return {(rule["protocol"], rule["fromPort"], rule["toPort"]): rule["cidrBlocks"] for rule in group["ingress"]}


def test_ssh_is_open_to_operators_only_and_tunnels_to_all(aws):
    groups = aws.of_type(GROUP)
    assert opened(groups["m-oregon-hubs"]) == {
        ("tcp", 22, 22): [OPERATOR],
        ("icmp", -1, -1): ["0.0.0.0/0"],
        ("udp", 1194, 1194): ["0.0.0.0/0"],
        ("udp", 20000, 20255): ["0.0.0.0/0"],
        ("tcp", 443, 443): ["0.0.0.0/0"],
    }
    assert set(opened(groups["m-oregon-hosts"])) == {("tcp", 22, 22), ("icmp", -1, -1)}
    assert opened(groups["m-oregon-hosts"])["tcp", 22, 22] == [OPERATOR]


def test_nothing_is_open_on_a_private_host_but_to_the_sites_hubs(aws):
    rules = opened(aws.of_type(GROUP)["m-oregon-private"])
    names = [f"m-oregon-{hub}-interface" for hub in "ab"]
    inside = {OUTPUTS[INTERFACE](name, digest_of(INTERFACE, name))["privateIp"] + "/32" for name in names}
    assert set(rules) == {("tcp", 22, 22), ("icmp", -1, -1)}
    assert all(inside <= set(sources) and "0.0.0.0/0" not in str(sources) for sources in rules.values())
    assert all(source.endswith("/32") for sources in rules.values() for source in sources)


def test_every_instance_needs_imdsv2_one_hop_away_and_has_an_encrypted_disk(aws):
    assert len(aws.of_type(INSTANCE)) == 4
    for name, fields in aws.of_type(INSTANCE).items():
        options = fields["metadataOptions"]
        assert (options["httpTokens"], options["httpPutResponseHopLimit"]) == ("required", 1), name
        assert (fields["rootBlockDevice"]["encrypted"], fields["rootBlockDevice"]["volumeType"]) == (True, "gp3")


def test_a_new_image_or_other_boot_data_never_touches_a_running_machine(aws):
    for name, fields in aws.of_type(INSTANCE).items():
        assert {"ami", "userData"} <= set(aws.options[INSTANCE, name].ignoreChanges)
        assert fields["userDataReplaceOnChange"] is False
        assert "userData" in aws.secret[INSTANCE, name]


def test_an_image_that_the_stack_file_names_is_a_choice():
    stack = values()
    stack["sites"]["oregon"]["machine"] = {"image": "ami-0123456789abcdef0", "size": "m7i.large"}
    aws = declare(stack)
    assert aws.of_type(INSTANCE)["m-web-1"]["ami"] == "ami-0123456789abcdef0"
    assert "ami" not in aws.options[INSTANCE, "m-web-1"].ignoreChanges
    assert not any("getAmi" in call.token for call in aws.asked)


@pytest.mark.parametrize(
    "size, arch", [("t4g.small", "arm64"), ("c7gn.large", "arm64"), ("g5g.xlarge", "arm64"), ("t3.small", "amd64"),
                   ("g4dn.xlarge", "amd64"), ("m7i-flex.large", "amd64"), ("a1.medium", "arm64")]
)  # fmt: skip
def test_the_image_is_debians_own_and_fits_the_processor(size, arch):
    stack = values()
    stack["sites"]["oregon"]["machine"] = {"size": size}
    asked = [call.args for call in declare(stack).asked if "getAmi" in call.token]
    assert {tuple(args["owners"]) for args in asked} == {(DEBIAN_OWNER,)}, "anyone may publish an image of this name"
    assert {args["filters"][0]["values"][0] for args in asked} == {f"debian-12-{arch}-*"}


def test_public_machines_have_an_address_that_outlives_the_instance_and_private_ones_none(aws):
    assert set(aws.of_type(EIP)) == {
        *(f"m-{machine}-address" for machine in ("oregon-a", "oregon-b", "web-1")),
        "m-oregon-network-nat-address",
    }
    for name in ("oregon-a", "oregon-b", "web-1"):
        assert aws.of_type(EIP)[f"m-{name}-address"]["networkInterface"] == f"m-{name}-interface-id"
        assert f"m-{name}-address" in str(aws.options[INSTANCE, f"m-{name}"].dependencies), "boots with no internet"


def test_only_hubs_may_carry_the_packets_of_others(aws):
    checks = {name: fields["sourceDestCheck"] for name, fields in aws.of_type(INTERFACE).items()}
    assert {name for name, check in checks.items() if not check} == {"m-oregon-a-interface", "m-oregon-b-interface"}
    # The instance's own default is true, and would turn the interface's off again.
    assert "sourceDestCheck" in aws.options[INSTANCE, "m-oregon-a"].ignoreChanges


def test_a_pair_of_hubs_stands_in_two_zones(aws):
    placed = {name: fields["subnetId"] for name, fields in aws.of_type(INTERFACE).items()}
    subnets = aws.of_type(SUBNET)
    zones = {hub: subnets[placed[f"m-oregon-{hub}-interface"].removesuffix("-id")]["availabilityZone"] for hub in "ab"}
    assert len(set(zones.values())) == 2


def test_subnets_share_the_underlay_and_never_move_to_a_zone_that_opens(aws):
    subnets = aws.of_type(SUBNET)
    assert sorted(fields["cidrBlock"] for fields in subnets.values()) == [
        f"172.30.1.{start}/26" for start in (0, 128, 192, 64)
    ]
    assert all("availabilityZone" in aws.options[SUBNET, name].ignoreChanges for name in subnets)


def test_everything_that_can_be_tagged_is(aws):
    for kind in TAGGED:
        for name, fields in aws.of_type(kind).items():
            tags = fields["tags"]
            assert (tags["vcubev:stack"], tags["vcubev:site"]) == ("stack", "oregon") and tags["Name"], name
    assert all(fields["rootBlockDevice"]["tags"] for fields in aws.of_type(INSTANCE).values())


def test_private_hosts_go_out_by_a_nat_gateway_that_is_made_only_for_them(aws):
    assert aws.of_type(ROUTE)["m-oregon-network-private-out"]["natGatewayId"] == "m-oregon-network-nat-id"
    assert "private-out" in str(aws.options[INSTANCE, "m-db-1"].dependencies)
    stack = values()
    del stack["sites"]["oregon"]["hosts"]["db-1"]
    assert not declare(stack).of_type(NAT), "a NAT gateway costs as much as some machines"


def test_the_hub_as_the_way_out_costs_no_nat_gateway():
    aws = with_network(nat="hub")
    assert not aws.of_type(NAT)
    assert aws.of_type(ROUTE)["m-oregon-way-out"]["networkInterfaceId"] == "m-oregon-a-interface-id"
    transit = {key: sources for key, sources in opened(aws.of_type(GROUP)["m-oregon-hubs"]).items() if key[1] == 1}
    assert transit == {(protocol, 1, 65535): ["10.20.0.0/20"] for protocol in ("tcp", "udp")}


def test_a_given_vpc_is_used_with_its_own_internet_gateway_and_never_changed():
    aws = with_network(vpc="vpc-0123", zones=["us-west-2b", "us-west-2c"])
    assert not aws.of_type(VPC) and not aws.of_type("aws:ec2/internetGateway:InternetGateway")
    assert {fields["vpcId"] for fields in aws.of_type(SUBNET).values()} == {"vpc-0123"}
    assert aws.of_type(ROUTE)["m-oregon-network-public-out"]["gatewayId"] == "igw-given"
    assert {fields["availabilityZone"] for fields in aws.of_type(SUBNET).values()} == {"us-west-2b", "us-west-2c"}


def test_each_region_and_account_has_a_provider_instance_of_its_own():
    stack = values()
    stack["sites"]["paris"] |= {"cloud": "aws", "region": "eu-west-3", "account": "second"}
    aws = declare(stack, signed_in=True)
    providers = aws.of_type("pulumi:providers:aws")
    assert {(fields["region"], fields.get("profile")) for fields in providers.values()} == {
        ("us-west-2", None),
        ("eu-west-3", "second"),
    }
    used = {name: args.provider for (typ, name), args in aws.made.items() if typ in (VPC, INSTANCE)}
    assert used["m-web-1"] == used["m-oregon-network-vpc"] != used["m-paris-network-vpc"] == used["m-web-2"]


def test_without_sign_in_the_engines_default_provider_serves():
    assert not declare(values()).of_type("pulumi:providers:aws")
