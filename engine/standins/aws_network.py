"""VPC, subnets and gateways.

What replaces and what is changed in place: `ForceNew` in terraform-provider-aws v6 internal/service/ec2/vpc_.go,
vpc_subnet.go, vpc_internet_gateway.go, vpc_nat_gateway.go.
"""

from __future__ import annotations

from .awaiting import await_state
from .aws_api import AwsApi, one, present, remove
from .cloud_kinds import Kind, Plain, words
from .properties import Failure

VPC_FLAGS = {"enableDnsSupport": "EnableDnsSupport", "enableDnsHostnames": "EnableDnsHostnames"}


def create_vpc(api: AwsApi, inputs: Plain) -> str:
    tags = api.tag_spec("vpc", inputs.get("tags"))
    wanted = present(CidrBlock=inputs["cidrBlock"], InstanceTenancy=inputs["instanceTenancy"])
    made = api.ec2.create_vpc(**wanted, TagSpecifications=tags)["Vpc"]["VpcId"]
    _set_vpc_flags(api, made, inputs)
    return made


def _set_vpc_flags(api: AwsApi, made: str, inputs: Plain) -> None:
    for name, flag in VPC_FLAGS.items():
        api.ec2.modify_vpc_attribute(VpcId=made, **{flag: {"Value": inputs[name]}})


def read_vpc(api: AwsApi, made: str, state: Plain) -> Plain | None:
    vpc = one(api.ec2.describe_vpcs, "Vpcs", VpcIds=[made])
    if vpc is None:
        return None
    inside = [{"Name": "vpc-id", "Values": [made]}]
    group = one(
        api.ec2.describe_security_groups,
        "SecurityGroups",
        Filters=[*inside, {"Name": "group-name", "Values": ["default"]}],
    )
    tables = api.ec2.describe_route_tables(Filters=inside)["RouteTables"]
    main = next((t["RouteTableId"] for t in tables if any(a.get("Main") for a in t["Associations"])), None)
    acl = one(api.ec2.describe_network_acls, "NetworkAcls", Filters=[*inside, {"Name": "default", "Values": ["true"]}])
    flags = {
        name: api.ec2.describe_vpc_attribute(VpcId=made, Attribute=name)[flag]["Value"]
        for name, flag in VPC_FLAGS.items()
    }
    return {
        **flags,
        "arn": api.arn(vpc["OwnerId"], f"vpc/{made}"),
        "cidrBlock": vpc["CidrBlock"],
        "instanceTenancy": vpc["InstanceTenancy"],
        "ownerId": vpc["OwnerId"],
        "dhcpOptionsId": vpc.get("DhcpOptionsId"),
        "defaultSecurityGroupId": group and group["GroupId"],
        "defaultNetworkAclId": acl and acl["NetworkAclId"],
        "mainRouteTableId": main,
        "defaultRouteTableId": main,
        **api.tag_outputs(vpc, state),
    }


def update_vpc(api: AwsApi, made: str, state: Plain, inputs: Plain, changed: set[str]) -> None:
    _set_vpc_flags(api, made, inputs)
    api.retag(made, state, inputs)


def create_subnet(api: AwsApi, inputs: Plain) -> str:
    wanted = present(
        VpcId=inputs["vpcId"],
        CidrBlock=inputs.get("cidrBlock"),
        AvailabilityZone=inputs.get("availabilityZone"),
        AvailabilityZoneId=inputs.get("availabilityZoneId"),
    )
    made = api.ec2.create_subnet(**wanted, TagSpecifications=api.tag_spec("subnet", inputs.get("tags")))
    subnet = made["Subnet"]["SubnetId"]
    if inputs["mapPublicIpOnLaunch"]:
        api.ec2.modify_subnet_attribute(SubnetId=subnet, MapPublicIpOnLaunch={"Value": True})
    return subnet


def read_subnet(api: AwsApi, made: str, state: Plain) -> Plain | None:
    subnet = one(api.ec2.describe_subnets, "Subnets", SubnetIds=[made])
    return subnet and {
        "arn": subnet.get("SubnetArn") or api.arn(subnet["OwnerId"], f"subnet/{made}"),
        "ownerId": subnet["OwnerId"],
        "vpcId": subnet["VpcId"],
        "cidrBlock": subnet["CidrBlock"],
        "availabilityZone": subnet["AvailabilityZone"],
        "availabilityZoneId": subnet.get("AvailabilityZoneId"),
        "mapPublicIpOnLaunch": subnet["MapPublicIpOnLaunch"],
        **api.tag_outputs(subnet, state),
    }


def update_subnet(api: AwsApi, made: str, state: Plain, inputs: Plain, changed: set[str]) -> None:
    if "mapPublicIpOnLaunch" in changed:
        api.ec2.modify_subnet_attribute(SubnetId=made, MapPublicIpOnLaunch={"Value": inputs["mapPublicIpOnLaunch"]})
    api.retag(made, state, inputs)


def create_gateway(api: AwsApi, inputs: Plain) -> str:
    tags = api.tag_spec("internet-gateway", inputs.get("tags"))
    made = api.ec2.create_internet_gateway(TagSpecifications=tags)["InternetGateway"]["InternetGatewayId"]
    if inputs.get("vpcId"):
        api.ec2.attach_internet_gateway(InternetGatewayId=made, VpcId=inputs["vpcId"])
    return made


def read_gateway(api: AwsApi, made: str, state: Plain) -> Plain | None:
    gateway = one(api.ec2.describe_internet_gateways, "InternetGateways", InternetGatewayIds=[made])
    if gateway is None:
        return None
    owner = gateway.get("OwnerId") or api.account()
    attached = next((a["VpcId"] for a in gateway.get("Attachments", [])), None)
    outputs = {"arn": api.arn(owner, f"internet-gateway/{made}"), "ownerId": owner, "vpcId": attached}
    return {**outputs, **api.tag_outputs(gateway, state)}


def update_gateway(api: AwsApi, made: str, state: Plain, inputs: Plain, changed: set[str]) -> None:
    if "vpcId" in changed:
        if state.get("vpcId"):
            remove(api.ec2.detach_internet_gateway, InternetGatewayId=made, VpcId=state["vpcId"])
        if inputs.get("vpcId"):
            api.ec2.attach_internet_gateway(InternetGatewayId=made, VpcId=inputs["vpcId"])
    api.retag(made, state, inputs)


def delete_gateway(api: AwsApi, made: str, state: Plain) -> None:
    found = read_gateway(api, made, state)
    if found and found["vpcId"]:
        remove(api.ec2.detach_internet_gateway, InternetGatewayId=made, VpcId=found["vpcId"])
    remove(api.ec2.delete_internet_gateway, InternetGatewayId=made)


def create_nat(api: AwsApi, inputs: Plain) -> str:
    wanted = present(
        SubnetId=inputs["subnetId"],
        AllocationId=inputs.get("allocationId"),
        ConnectivityType=inputs["connectivityType"],
        PrivateIpAddress=inputs.get("privateIp"),
    )
    tags = api.tag_spec("natgateway", inputs.get("tags"))
    return api.ec2.create_nat_gateway(**wanted, TagSpecifications=tags)["NatGateway"]["NatGatewayId"]


def _nat(api: AwsApi, made: str) -> Plain | None:
    return one(api.ec2.describe_nat_gateways, "NatGateways", NatGatewayIds=[made])


def read_nat(api: AwsApi, made: str, state: Plain) -> Plain | None:
    nat = await_state(lambda: _nat(api, made), lambda n: n is None or n["State"] != "pending", f"NAT gateway {made}")
    if nat is None or nat["State"] in ("deleted", "deleting"):
        return None
    if nat["State"] == "failed":
        raise Failure(f"NAT gateway {made}: {nat.get('FailureCode')}: {nat.get('FailureMessage')}")
    address = (nat.get("NatGatewayAddresses") or [{}])[0]
    return {
        "subnetId": nat["SubnetId"],
        "connectivityType": nat.get("ConnectivityType"),
        "allocationId": address.get("AllocationId"),
        "networkInterfaceId": address.get("NetworkInterfaceId"),
        "publicIp": address.get("PublicIp"),
        "privateIp": address.get("PrivateIp"),
        **api.tag_outputs(nat, state),
    }


def delete_nat(api: AwsApi, made: str, state: Plain) -> None:
    remove(api.ec2.delete_nat_gateway, NatGatewayId=made)
    await_state(
        lambda: _nat(api, made), lambda n: n is None or n["State"] in ("deleted", "failed"), f"the end of {made}"
    )


def retag(api: AwsApi, made: str, state: Plain, inputs: Plain, changed: set[str]) -> None:
    api.retag(made, state, inputs)


KINDS = {
    "aws:ec2/vpc:Vpc": Kind(
        resource="pulumi_aws.ec2.vpc:Vpc",
        create=create_vpc,
        read=read_vpc,
        update=update_vpc,
        delete=lambda api, made, state: remove(api.ec2.delete_vpc, VpcId=made),
        in_place=words("enableDnsSupport enableDnsHostnames tags"),
        replaces=words("cidrBlock instanceTenancy region"),
        defaults={"enableDnsSupport": True, "enableDnsHostnames": False, "instanceTenancy": "default"},
        choices={"instanceTenancy": lambda api: ("default", "dedicated")},
    ),
    "aws:ec2/subnet:Subnet": Kind(
        resource="pulumi_aws.ec2.subnet:Subnet",
        create=create_subnet,
        read=read_subnet,
        update=update_subnet,
        delete=lambda api, made, state: remove(api.ec2.delete_subnet, SubnetId=made),
        in_place=words("mapPublicIpOnLaunch tags"),
        replaces=words("vpcId cidrBlock availabilityZone availabilityZoneId region"),
        computed=words("availabilityZone availabilityZoneId"),
        defaults={"mapPublicIpOnLaunch": False},
    ),
    "aws:ec2/internetGateway:InternetGateway": Kind(
        resource="pulumi_aws.ec2.internet_gateway:InternetGateway",
        create=create_gateway,
        read=read_gateway,
        update=update_gateway,
        delete=delete_gateway,
        in_place=words("vpcId tags"),
        replaces=words("region"),
        computed=words("vpcId"),
    ),
    "aws:ec2/natGateway:NatGateway": Kind(
        resource="pulumi_aws.ec2.nat_gateway:NatGateway",
        create=create_nat,
        read=read_nat,
        update=retag,
        delete=delete_nat,
        in_place=words("tags"),
        replaces=words("allocationId connectivityType privateIp subnetId region"),
        computed=words("privateIp"),
        defaults={"connectivityType": "public"},
        choices={"connectivityType": lambda api: api.shape("ConnectivityType")},
    ),
}
