"""Invokes of the `aws` stand-in: what a program asks of AWS without making it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from .aws_api import AwsApi, present
from .cloud_kinds import Plain
from .properties import Failure


def _filters(given: list[Plain] | None) -> list[Plain] | None:
    return [{"Name": item["name"], "Values": item["values"]} for item in given] if given else None


def _tag_filters(args: Plain) -> list[Plain]:
    return [{"Name": f"tag:{key}", "Values": [value]} for key, value in (args.get("tags") or {}).items()]


def get_ami(api: AwsApi, args: Plain) -> Plain:
    wanted = present(
        Owners=args.get("owners"),
        ExecutableUsers=args.get("executableUsers"),
        Filters=_filters(args.get("filters")),
        IncludeDeprecated=args.get("includeDeprecated"),
    )
    images = api.ec2.describe_images(**wanted)["Images"]
    if args.get("nameRegex"):
        images = [image for image in images if re.search(args["nameRegex"], image.get("Name", ""))]
    if not images:
        raise Failure("Your query returned no results. Please change your search criteria and try again.")
    if len(images) > 1 and not args.get("mostRecent"):
        raise Failure("Your query returned more than one result. Please try a more specific search criteria.")
    image = max(images, key=lambda found: found["CreationDate"])
    return {
        "id": image["ImageId"],
        "imageId": image["ImageId"],
        "arn": f"arn:aws:ec2:{api.region}::image/{image['ImageId']}",
        "architecture": image.get("Architecture"),
        "creationDate": image["CreationDate"],
        "description": image.get("Description"),
        "name": image.get("Name"),
        "ownerId": image.get("OwnerId"),
        "rootDeviceName": image.get("RootDeviceName"),
        "rootDeviceType": image.get("RootDeviceType"),
        "virtualizationType": image.get("VirtualizationType"),
        "state": image.get("State"),
        "tags": {tag["Key"]: tag["Value"] for tag in image.get("Tags", [])},
    }


def get_zones(api: AwsApi, args: Plain) -> Plain:
    filters = _filters(args.get("filters")) or []
    if args.get("state"):
        filters = [*filters, {"Name": "state", "Values": [args["state"]]}]
    wanted = present(Filters=filters or None, AllAvailabilityZones=args.get("allAvailabilityZones"))
    zones = sorted(api.ec2.describe_availability_zones(**wanted)["AvailabilityZones"], key=lambda z: z["ZoneName"])
    gone = {*(args.get("excludeNames") or []), *(args.get("excludeZoneIds") or [])}
    zones = [zone for zone in zones if zone["ZoneName"] not in gone and zone["ZoneId"] not in gone]
    names = {"names": [z["ZoneName"] for z in zones], "zoneIds": [z["ZoneId"] for z in zones]}
    return {"id": api.region, **names, "groupNames": sorted({z.get("GroupName") or api.region for z in zones})}


def get_vpc(api: AwsApi, args: Plain) -> Plain:
    filters = [*(_filters(args.get("filters")) or []), *_tag_filters(args)]
    for name, key in (("cidrBlock", "cidr"), ("state", "state")):
        if args.get(name):
            filters.append({"Name": key, "Values": [args[name]]})
    if "default" in args:
        filters.append({"Name": "is-default", "Values": [str(args["default"]).lower()]})
    wanted = present(VpcIds=[args["id"]] if args.get("id") else None, Filters=filters or None)
    found = api.ec2.describe_vpcs(**wanted)["Vpcs"]
    if len(found) != 1:
        raise Failure(f"{'no' if not found else 'multiple'} matching EC2 VPC found")
    vpc = found[0]
    return {
        "id": vpc["VpcId"],
        "arn": api.arn(vpc["OwnerId"], f"vpc/{vpc['VpcId']}"),
        "cidrBlock": vpc["CidrBlock"],
        "default": vpc["IsDefault"],
        "instanceTenancy": vpc["InstanceTenancy"],
        "ownerId": vpc["OwnerId"],
        "state": vpc["State"],
        "tags": {tag["Key"]: tag["Value"] for tag in vpc.get("Tags", [])},
    }


def get_subnets(api: AwsApi, args: Plain) -> Plain:
    filters = [*(_filters(args.get("filters")) or []), *_tag_filters(args)]
    found = api.ec2.describe_subnets(**present(Filters=filters or None))["Subnets"]
    return {"id": api.region, "ids": sorted(subnet["SubnetId"] for subnet in found)}


def get_subnet(api: AwsApi, args: Plain) -> Plain:
    filters = [*(_filters(args.get("filters")) or []), *_tag_filters(args)]
    for name, key in (("vpcId", "vpc-id"), ("availabilityZone", "availability-zone"), ("cidrBlock", "cidr-block")):
        if args.get(name):
            filters.append({"Name": key, "Values": [args[name]]})
    wanted = present(SubnetIds=[args["id"]] if args.get("id") else None, Filters=filters or None)
    found = api.ec2.describe_subnets(**wanted)["Subnets"]
    if len(found) != 1:
        raise Failure(f"{'no' if not found else 'multiple'} matching EC2 Subnet found")
    subnet = found[0]
    return {
        "id": subnet["SubnetId"],
        "availabilityZone": subnet["AvailabilityZone"],
        "cidrBlock": subnet["CidrBlock"],
        "mapPublicIpOnLaunch": subnet["MapPublicIpOnLaunch"],
        "vpcId": subnet["VpcId"],
        "tags": {tag["Key"]: tag["Value"] for tag in subnet.get("Tags", [])},
    }


def get_gateway(api: AwsApi, args: Plain) -> Plain:
    filters = [*(_filters(args.get("filters")) or []), *_tag_filters(args)]
    if args.get("internetGatewayId"):
        filters.append({"Name": "internet-gateway-id", "Values": [args["internetGatewayId"]]})
    found = api.ec2.describe_internet_gateways(**present(Filters=filters or None))["InternetGateways"]
    if len(found) != 1:
        raise Failure(f"{'no' if not found else 'multiple'} matching EC2 Internet Gateway found")
    gateway = found[0]
    attachments = [{"state": a["State"], "vpcId": a["VpcId"]} for a in gateway.get("Attachments", [])]
    made = gateway["InternetGatewayId"]
    tags = {tag["Key"]: tag["Value"] for tag in gateway.get("Tags", [])}
    owner = gateway.get("OwnerId") or api.account()
    return {"id": made, "internetGatewayId": made, "attachments": attachments, "ownerId": owner, "tags": tags}


def get_parameter(api: AwsApi, args: Plain) -> Plain:
    decrypted = args.get("withDecryption", True)
    found = api.client("ssm").get_parameter(Name=args["name"], WithDecryption=decrypted)["Parameter"]
    return {
        "id": found["Name"],
        "arn": found["ARN"],
        "name": found["Name"],
        "type": found["Type"],
        "value": found["Value"],
        "insecureValue": found["Value"] if found["Type"] != "SecureString" else "",
        "version": found["Version"],
        "withDecryption": decrypted,
    }


def get_region(api: AwsApi, args: Plain) -> Plain:
    endpoint = f"ec2.{api.region}.amazonaws.com"
    return {"id": api.region, "region": api.region, "name": api.region, "endpoint": endpoint}


def get_identity(api: AwsApi, args: Plain) -> Plain:
    found = api.client("sts").get_caller_identity()
    return {"id": found["Account"], "accountId": found["Account"], "arn": found["Arn"], "userId": found["UserId"]}


# token -> (the SDK's function, from which come the names that it takes; what answers; which values are secret)
INVOKES: dict[str, tuple[str, Callable[[AwsApi, Plain], Plain], frozenset[str]]] = {
    "aws:ec2/getAmi:getAmi": ("pulumi_aws.ec2.get_ami:get_ami", get_ami, frozenset()),
    "aws:index/getAvailabilityZones:getAvailabilityZones": (
        "pulumi_aws.get_availability_zones:get_availability_zones",
        get_zones,
        frozenset(),
    ),
    "aws:ec2/getVpc:getVpc": ("pulumi_aws.ec2.get_vpc:get_vpc", get_vpc, frozenset()),
    "aws:ec2/getSubnet:getSubnet": ("pulumi_aws.ec2.get_subnet:get_subnet", get_subnet, frozenset()),
    "aws:ec2/getSubnets:getSubnets": ("pulumi_aws.ec2.get_subnets:get_subnets", get_subnets, frozenset()),
    "aws:ec2/getInternetGateway:getInternetGateway": (
        "pulumi_aws.ec2.get_internet_gateway:get_internet_gateway",
        get_gateway,
        frozenset(),
    ),
    "aws:ssm/getParameter:getParameter": (
        "pulumi_aws.ssm.get_parameter:get_parameter",
        get_parameter,
        frozenset({"value"}),
    ),
    "aws:index/getRegion:getRegion": ("pulumi_aws.get_region:get_region", get_region, frozenset()),
    "aws:index/getCallerIdentity:getCallerIdentity": (
        "pulumi_aws.get_caller_identity:get_caller_identity",
        get_identity,
        frozenset(),
    ),
}


def invoke(api: AwsApi, token: str, args: Plain) -> Any:
    return INVOKES[token][1](api, args)
