"""Elastic IP addresses and network interfaces.

Source: terraform-provider-aws v6 internal/service/ec2/ec2_eip.go, ec2_eip_association.go, vpc_network_interface.go.
"""

from __future__ import annotations

from .aws_api import AwsApi, one, present, remove
from .cloud_kinds import Kind, Plain, words
from .properties import Failure


def create_address(api: AwsApi, inputs: Plain) -> str:
    tags = api.tag_spec("elastic-ip", inputs.get("tags"))
    wanted = present(Domain="vpc", Address=inputs.get("address"), TagSpecifications=tags or None)
    made = api.ec2.allocate_address(**wanted)["AllocationId"]
    _associate(api, made, inputs)
    return made


def _associate(api: AwsApi, made: str, inputs: Plain) -> str | None:
    target = present(
        InstanceId=inputs.get("instance") or None, NetworkInterfaceId=inputs.get("networkInterface") or None
    )
    if not target:
        return None
    wanted = present(PrivateIpAddress=inputs.get("associateWithPrivateIp"))
    return api.ec2.associate_address(AllocationId=made, **target, **wanted)["AssociationId"]


def _address(api: AwsApi, made: str) -> Plain | None:
    return one(api.ec2.describe_addresses, "Addresses", AllocationIds=[made])


def read_address(api: AwsApi, made: str, state: Plain) -> Plain | None:
    address = _address(api, made)
    if address is None:
        return None
    public = address["PublicIp"]
    zone = "compute-1" if api.region == "us-east-1" else f"{api.region}.compute"
    return {
        "allocationId": made,
        "arn": api.arn(api.account(), f"elastic-ip/{made}"),
        "associationId": address.get("AssociationId") or "",
        "domain": address["Domain"],
        "instance": address.get("InstanceId") or "",
        "networkInterface": address.get("NetworkInterfaceId") or "",
        "privateIp": address.get("PrivateIpAddress") or None,
        "publicIp": public,
        "publicDns": f"ec2-{public.replace('.', '-')}.{zone}.amazonaws.com",
        **api.tag_outputs(address, state),
    }


def update_address(api: AwsApi, made: str, state: Plain, inputs: Plain, changed: set[str]) -> None:
    if changed & {"instance", "networkInterface", "associateWithPrivateIp"}:
        if state.get("associationId"):
            remove(api.ec2.disassociate_address, AssociationId=state["associationId"])
        _associate(api, made, inputs)
    api.retag(made, state, inputs)


def delete_address(api: AwsApi, made: str, state: Plain) -> None:
    address = _address(api, made)
    if address and address.get("AssociationId"):
        remove(api.ec2.disassociate_address, AssociationId=address["AssociationId"])
    remove(api.ec2.release_address, AllocationId=made)


def create_association(api: AwsApi, inputs: Plain) -> str:
    wanted = present(
        AllocationId=inputs.get("allocationId"),
        PublicIp=inputs.get("publicIp"),
        InstanceId=inputs.get("instanceId"),
        NetworkInterfaceId=inputs.get("networkInterfaceId"),
        PrivateIpAddress=inputs.get("privateIpAddress"),
        AllowReassociation=inputs.get("allowReassociation"),
    )
    return api.ec2.associate_address(**wanted)["AssociationId"]


def read_association(api: AwsApi, made: str, state: Plain) -> Plain | None:
    wanted = [{"Name": "association-id", "Values": [made]}]
    address = one(api.ec2.describe_addresses, "Addresses", Filters=wanted)
    return address and {
        "allocationId": address.get("AllocationId"),
        "instanceId": address.get("InstanceId") or "",
        "networkInterfaceId": address.get("NetworkInterfaceId") or "",
        "privateIpAddress": address.get("PrivateIpAddress"),
        "publicIp": address["PublicIp"],
    }


def create_interface(api: AwsApi, inputs: Plain) -> str:
    private = inputs.get("privateIps") or []
    if len(private) > 1:
        raise Failure("the stand-in for the aws plugin gives an interface one private address")
    wanted = present(
        SubnetId=inputs["subnetId"],
        Groups=inputs.get("securityGroups"),
        PrivateIpAddress=private[0] if private else None,
        Description=inputs.get("description"),
        TagSpecifications=api.tag_spec("network-interface", inputs.get("tags")) or None,
    )
    made = api.ec2.create_network_interface(**wanted)["NetworkInterface"]["NetworkInterfaceId"]
    if not inputs["sourceDestCheck"]:
        api.ec2.modify_network_interface_attribute(NetworkInterfaceId=made, SourceDestCheck={"Value": False})
    return made


def read_interface(api: AwsApi, made: str, state: Plain) -> Plain | None:
    found = one(api.ec2.describe_network_interfaces, "NetworkInterfaces", NetworkInterfaceIds=[made])
    if found is None:
        return None
    owner = found.get("OwnerId") or api.account()
    return {
        "arn": api.arn(owner, f"network-interface/{made}"),
        "ownerId": owner,
        "description": found.get("Description") or None,
        "interfaceType": found.get("InterfaceType"),
        "macAddress": found.get("MacAddress"),
        "privateDnsName": found.get("PrivateDnsName"),
        "privateIp": found["PrivateIpAddress"],
        "privateIps": [one["PrivateIpAddress"] for one in found["PrivateIpAddresses"]],
        "securityGroups": [group["GroupId"] for group in found["Groups"]],
        "sourceDestCheck": found["SourceDestCheck"],
        "subnetId": found["SubnetId"],
        **api.tag_outputs({"Tags": found.get("TagSet", [])}, state),
    }


def update_interface(api: AwsApi, made: str, state: Plain, inputs: Plain, changed: set[str]) -> None:
    change = api.ec2.modify_network_interface_attribute
    if "securityGroups" in changed and inputs.get("securityGroups"):
        change(NetworkInterfaceId=made, Groups=inputs["securityGroups"])
    if "sourceDestCheck" in changed:
        change(NetworkInterfaceId=made, SourceDestCheck={"Value": inputs["sourceDestCheck"]})
    if "description" in changed:
        change(NetworkInterfaceId=made, Description={"Value": inputs.get("description") or ""})
    api.retag(made, state, inputs)


KINDS = {
    "aws:ec2/networkInterface:NetworkInterface": Kind(
        resource="pulumi_aws.ec2.network_interface:NetworkInterface",
        create=create_interface,
        read=read_interface,
        update=update_interface,
        delete=lambda api, made, state: remove(api.ec2.delete_network_interface, NetworkInterfaceId=made),
        in_place=words("securityGroups sourceDestCheck description tags"),
        replaces=words("subnetId privateIps region"),
        computed=words("privateIps securityGroups description"),
        unordered=words("securityGroups privateIps"),
        defaults={"sourceDestCheck": True},
    ),
    "aws:ec2/eip:Eip": Kind(
        resource="pulumi_aws.ec2.eip:Eip",
        create=create_address,
        read=read_address,
        update=update_address,
        delete=delete_address,
        in_place=words("instance networkInterface associateWithPrivateIp tags"),
        replaces=words("address domain region"),
        computed=words("instance networkInterface domain"),
        choices={"domain": lambda api: api.shape("DomainType")},
    ),
    "aws:ec2/eipAssociation:EipAssociation": Kind(
        resource="pulumi_aws.ec2.eip_association:EipAssociation",
        create=create_association,
        read=read_association,
        delete=lambda api, made, state: remove(api.ec2.disassociate_address, AssociationId=made),
        replaces=words(
            "allocationId publicIp instanceId networkInterfaceId privateIpAddress allowReassociation region"
        ),
        computed=words("allocationId publicIp instanceId networkInterfaceId privateIpAddress"),
        delete_first=True,
    ),
}
