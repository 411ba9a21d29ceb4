"""The `aws` stand-in against moto: networks, security groups, addresses."""

import subprocess
import sys
from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from engine.standins.properties import Failure, is_unknown, plain, to_property, unknown
from tests.engine.aws_plugin import (
    ASSOCIATION,
    EGRESS,
    EIP,
    EIP_ASSOCIATION,
    GATEWAY,
    GROUP,
    INGRESS,
    INSTANCE,
    INTERFACE,
    KEY,
    NAT,
    ROUTE,
    SUBNET,
    TABLE,
    VPC,
    aws_plugin,
)

ROOT = Path(__file__).parents[2]
DEBIAN = "136693071363"
PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPh0rYt8Zs7Cd7TWQf9vTSIx7gc1yZHnZgxUeZv7H5u8 one"


@pytest.fixture(autouse=True)
def cloud(monkeypatch):
    for name, value in (("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")):
        monkeypatch.setenv(name, value)
    with mock_aws():
        yield boto3.client("ec2", region_name="us-west-2")


@pytest.fixture
def aws():
    return aws_plugin()


@pytest.fixture
def vpc(aws):
    return aws.make(VPC, cidrBlock="10.1.0.0/16", tags={"Name": "one"})


@pytest.fixture
def subnet(aws, vpc):
    return aws.make(SUBNET, vpcId=vpc.id, cidrBlock="10.1.1.0/24", availabilityZone="us-west-2a")


@pytest.fixture
def group(aws, vpc):
    return aws.make(GROUP, vpcId=vpc.id)


@pytest.fixture
def image(cloud):
    return cloud.describe_images(Filters=[{"Name": "name", "Values": ["*"]}])["Images"][0]["ImageId"]


@pytest.fixture
def instance(aws, image, subnet, group):
    return aws.make(
        INSTANCE,
        ami=image,
        instanceType="t3.micro",
        subnetId=subnet.id,
        vpcSecurityGroupIds=[group.id],
        userData=to_property("#cloud-config\n{}", secret=True),
        sourceDestCheck=False,
        metadataOptions={"httpTokens": "required", "httpPutResponseHopLimit": 1},
        rootBlockDevice={"encrypted": True, "volumeType": "gp3", "volumeSize": 10, "tags": {"Name": "disk"}},
        tags={"Name": "hub"},
    )


def test_what_is_made_is_read_changed_and_taken_away(aws, vpc, subnet, cloud):
    assert vpc.diff().diffs == []
    assert vpc["defaultSecurityGroupId"].startswith("sg-") and vpc["arn"].endswith(f"vpc/{vpc.id}")
    vpc.update(enableDnsHostnames=True, tags={"Name": "two"})
    assert cloud.describe_vpcs(VpcIds=[vpc.id])["Vpcs"][0]["Tags"] == [{"Key": "Name", "Value": "two"}]
    subnet.update(mapPublicIpOnLaunch=True)
    gateway = aws.make(GATEWAY, vpcId=vpc.id)
    table = aws.make(TABLE, vpcId=vpc.id, routes=[{"cidrBlock": "0.0.0.0/0", "gatewayId": gateway.id}])
    route = aws.make(ROUTE, routeTableId=table.id, destinationCidrBlock="10.9.0.0/16", gatewayId=gateway.id)
    joined = aws.make(ASSOCIATION, routeTableId=table.id, subnetId=subnet.id)
    address = aws.make(EIP, domain="vpc")
    nat = aws.make(NAT, subnetId=subnet.id, allocationId=address.id)
    route.update(gatewayId=None, natGatewayId=nat.id)
    made = [nat, address, joined, route, table, gateway, subnet, vpc]
    assert all(one.refresh() for one in made)
    assert all(one.diff().diffs == [] for one in made if one is not table), "a second `up` would change something"
    for one in made:
        one.delete()
        assert not one.refresh(), f"{one.kind} is still there"
        one.delete()


@pytest.mark.parametrize(
    ("kind", "inputs", "said"),
    [
        (VPC, {"cidrBlock": "10.0.0.0/16", "colour": "red"}, "Unexpected property 'colour'"),
        (VPC, {"cidrBlock": "10.0.0.0/16", "instanceTenancy": "shared"}, "expected instanceTenancy to be one of"),
        (VPC, {"cidrBlock": "10.0.0.0/16", "enableDnsSupport": "yes"}, "expected a boolean at 'enableDnsSupport'"),
        (VPC, {"cidrBlock": "10.0.0.0/16", "ipv4IpamPoolId": "x"}, "is not in the stand-in"),
        (SUBNET, {"cidrBlock": "10.0.0.0/24"}, "Missing required property 'vpcId'"),
        (INSTANCE, {"ami": "ami-1", "instanceType": "t3.huge"}, "expected instanceType to be one of"),
        (INSTANCE, {"metadataOptions": {"httpTokens": "must"}}, "expected metadataOptions.httpTokens to be one of"),
        (INSTANCE, {"metadataOptions": {"httpToken": "x"}}, "Unexpected property 'metadataOptions.httpToken'"),
        (INSTANCE, {"tags": ["x"]}, "expected a map at 'tags'"),
        (EIP, {"domain": "classic"}, "expected domain to be one of"),
        (GROUP, {"ingress": [{"protocol": "tcp", "fromPort": 1}]}, "Missing required property 'ingress[0].toPort'"),
    ],
)
def test_an_input_that_the_real_schema_refuses_is_refused(aws, kind, inputs, said):
    assert said in " ".join(aws.check(kind, **inputs)[1])


def test_what_botocore_or_aws_refuse_is_told_in_aws_own_words(aws, vpc):
    with pytest.raises(Failure, match=r"CreateSubnet.*InvalidSubnet.Range"):
        aws.make(SUBNET, vpcId=vpc.id, cidrBlock="10.2.0.0/24")
    with pytest.raises(Failure, match=r"RunInstances|couldn't find"):
        aws.make(INSTANCE, ami="ami-00000000", instanceType="t3.micro", rootBlockDevice={"encrypted": True})


def test_a_change_that_cannot_be_made_in_place_replaces(vpc, subnet, instance):
    assert vpc.diff(cidrBlock="10.3.0.0/16").replaces == ["cidrBlock"]
    assert subnet.diff(availabilityZone="us-west-2b").replaces == ["availabilityZone"]
    for name, value in (("ami", "ami-2"), ("subnetId", unknown()), ("keyName", "other"), ("privateIp", "10.1.1.77")):
        assert instance.diff(**{name: value}).replaces == [name]
    assert instance.diff(userData="#!/bin/sh").replaces == []
    assert instance.diff(userData="#!/bin/sh", userDataReplaceOnChange=True).replaces == ["userData"]


def test_an_instance_is_made_as_asked_and_changes_in_place(aws, vpc, instance, cloud):
    assert instance.diff().diffs == [], instance.diff().detailed_diff
    found = cloud.describe_instances(InstanceIds=[instance.id])["Reservations"][0]["Instances"][0]
    assert found["MetadataOptions"]["HttpTokens"] == "required"
    assert found["SourceDestCheck"] is False and found["PrivateIpAddress"] == instance["privateIp"]
    assert instance.state["userData"].is_secret, "the seeded host key would lie open in the state"
    assert instance["rootBlockDevice"]["encrypted"] is True and instance["publicIp"] == ""
    other = aws.make(GROUP, vpcId=vpc.id, name="other")
    instance.update(vpcSecurityGroupIds=[other.id], tags={"Name": "hub", "more": "1"}, instanceType="t3.small")
    assert instance.refresh() and instance["instanceState"] == "running"
    instance.delete()
    assert not instance.refresh()
    instance.delete()


def test_an_elastic_ip_moves_to_another_instance(aws, instance):
    address = aws.make(EIP, domain="vpc", instance=instance.id)
    assert address.diff().diffs == [] and instance.refresh() and instance["publicIp"] == address["publicIp"]
    address.update(instance="")
    joined = aws.make(EIP_ASSOCIATION, allocationId=address.id, instanceId=instance.id)
    assert joined.refresh() and joined.diff().diffs == []
    joined.delete()
    assert not joined.refresh() and address.refresh()
    address.delete()
    assert not address.refresh()


def test_an_update_leaves_alone_what_the_program_ignores(aws, subnet, image, cloud):
    """hashicorp/terraform-provider-aws 44768: the instance's default would turn its interface's check on again."""
    interface = aws.make(INTERFACE, subnetId=subnet.id, sourceDestCheck=False)
    primary = {"networkInterfaceId": interface.id}
    hub = aws.make(INSTANCE, ami=image, instanceType="t4g.small", primaryNetworkInterface=primary)
    # On AWS the two are one: what is set at the instance is set at its primary interface.
    cloud.modify_instance_attribute(InstanceId=hub.id, SourceDestCheck={"Value": False})
    hub.update(ignoring=["sourceDestCheck"], instanceType="t4g.medium")
    found = cloud.describe_instances(InstanceIds=[hub.id])["Reservations"][0]["Instances"][0]
    assert found["SourceDestCheck"] is False, "a larger hub would forward nothing any more"


def test_an_address_on_an_interface_outlives_the_instance(aws, subnet, group, image):
    interface = aws.make(INTERFACE, subnetId=subnet.id, securityGroups=[group.id], sourceDestCheck=False)
    address = aws.make(EIP, domain="vpc", networkInterface=interface.id)
    primary = {"networkInterfaceId": interface.id}
    hub = aws.make(INSTANCE, ami=image, instanceType="t4g.small", primaryNetworkInterface=primary)
    assert (hub["publicIp"], hub["privateIp"]) == (address["publicIp"], interface["privateIp"])
    assert hub["sourceDestCheck"] is False and hub["vpcSecurityGroupIds"] == [group.id]
    assert hub.diff().diffs == ["sourceDestCheck"], "the instance's own default would turn it on again, as on AWS"
    assert interface.refresh() and interface.diff().diffs == [] and address.refresh() and address.diff().diffs == []
    with pytest.raises(Failure, match="brings these itself"):
        aws.make(INSTANCE, ami=image, instanceType="t4g.small", primaryNetworkInterface=primary, subnetId=subnet.id)
    hub.delete()
    assert interface.refresh() and address.refresh()
    address.delete()
    interface.delete()
    assert not interface.refresh()


def test_a_security_group_holds_the_rules_that_it_was_given_and_no_other(aws, vpc, cloud):
    rule = {"protocol": "tcp", "fromPort": 22, "toPort": 22, "cidrBlocks": ["192.0.2.1/32", "192.0.2.2/32"]}
    group = aws.make(GROUP, vpcId=vpc.id, ingress=[rule])
    assert group["name"] == "one-3132333" and group.diff().diffs == []

    def held():
        return cloud.describe_security_groups(GroupIds=[group.id])["SecurityGroups"][0]

    assert held()["IpPermissionsEgress"] == [], "the plugin takes AWS's own rule away"
    open_way = {"protocol": "-1", "fromPort": 0, "toPort": 0, "cidrBlocks": ["0.0.0.0/0"]}
    group.update(
        ingress=[{**rule, "cidrBlocks": ["192.0.2.2/32"]}, {**rule, "cidrBlocks": [], "self": True}], egress=[open_way]
    )
    assert [r["CidrIp"] for p in held()["IpPermissions"] for r in p["IpRanges"]] == ["192.0.2.2/32"]
    assert held()["IpPermissionsEgress"][0]["IpProtocol"] == "-1"
    cloud.revoke_security_group_egress(GroupId=group.id, IpPermissions=held()["IpPermissionsEgress"])
    before = dict(group.inputs)
    assert group.refresh()
    group.inputs = before
    assert group.diff().diffs == ["egress"], "a refresh shows what someone changed by hand"


def test_a_rule_of_its_own_is_changed_in_place_and_taken_away(aws, group, cloud):
    ssh = {"securityGroupId": group.id, "ipProtocol": "tcp", "fromPort": 22, "toPort": 22}
    rule = aws.make(INGRESS, **ssh, cidrIpv4="192.0.2.0/24", tags={"a": "b"})
    out = aws.make(EGRESS, securityGroupId=group.id, ipProtocol="-1", cidrIpv4="0.0.0.0/0")
    by_group = aws.make(INGRESS, **ssh, referencedSecurityGroupId=group.id)
    assert all(one.refresh() and one.diff().diffs == [] for one in (rule, out, by_group))
    rule.update(cidrIpv4="198.51.100.0/24")
    assert rule.diff(securityGroupId="sg-2").replaces == ["securityGroupId"]
    assert group.refresh() and group.diff().diffs == [], "rules of their own are none of the group's inputs"
    for one in (rule, out, by_group):
        one.delete()
        assert not one.refresh()
    with pytest.raises(Failure, match="exactly one of"):
        aws.make(INGRESS, **ssh)


def test_a_key_pair_is_replaced_by_another_key(aws):
    key = aws.make(KEY, publicKey=PUBLIC_KEY)
    assert key.refresh() and key.diff().diffs == []
    key.delete()
    assert not key.refresh()
    assert key.diff(publicKey="ssh-ed25519 BBBB two").replaces == ["publicKey"]


def test_a_preview_knows_the_inputs_and_nothing_that_aws_decides(aws):
    made = aws.make(INSTANCE, preview=True, ami="ami-1", instanceType="t3.micro", subnetId=unknown())
    assert plain(made.state["sourceDestCheck"]) is True
    assert is_unknown(made.state["publicIp"]) and is_unknown(made.state["privateIp"])


def test_default_tags_are_on_all_and_a_change_of_them_shows(aws, cloud):
    tagged = aws_plugin(defaultTags='{"tags": {"stack": "one"}}')
    vpc = tagged.make(VPC, cidrBlock="10.7.0.0/16", tags={"Name": "x"})
    assert vpc["tagsAll"] == {"Name": "x", "stack": "one"} and vpc["tags"] == {"Name": "x"}
    vpc.plugin = aws_plugin(defaultTags={"tags": {"stack": "two"}})
    assert vpc.diff().diffs == ["tagsAll"]
    vpc.update()
    assert vpc["tagsAll"] == {"Name": "x", "stack": "two"}


def test_look_ups(aws, vpc, subnet):
    zones = aws.invoke("aws:index/getAvailabilityZones:getAvailabilityZones", state="available")
    assert zones["names"][:2] == ["us-west-2a", "us-west-2b"]
    mine = aws.invoke("aws:ec2/getSubnets:getSubnets", filters=[{"name": "vpc-id", "values": [vpc.id]}])
    assert mine["ids"] == [subnet.id]
    assert aws.invoke("aws:ec2/getVpc:getVpc", id=vpc.id)["cidrBlock"] == "10.1.0.0/16"
    assert aws.invoke("aws:index/getRegion:getRegion")["region"] == "us-west-2"
    assert aws.invoke("aws:index/getCallerIdentity:getCallerIdentity")["accountId"] == "123456789012"
    newest = aws.invoke("aws:ec2/getAmi:getAmi", mostRecent=True, owners=["amazon"])
    assert newest["id"].startswith("ami-")
    with pytest.raises(Failure, match="takes no 'colour'"):
        aws.invoke("aws:ec2/getVpc:getVpc", colour="red")


def test_a_look_at_the_schema_leaves_the_sdk_whole_for_who_comes_after():
    """The SDK's packages load at their first use: one whose module came first would lack that module's names."""
    look = "sdk_schema.inputs_of('pulumi_aws.ec2.route_table:RouteTable')"
    program = f"from engine.standins import sdk_schema; {look}; import pulumi_aws; pulumi_aws.ec2.RouteTable"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_credentials_in_the_configuration_are_refused(monkeypatch):
    with pytest.raises(Failure, match="use the environment"):
        aws_plugin(secretKey="x")
    with pytest.raises(Failure, match="is not in the stand-in"):
        aws_plugin(assumeRoles=[{"roleArn": "x"}])
