"""Instances.

Source: terraform-provider-aws v6 internal/service/ec2/ec2_instance.go, ec2_placement_group.go: `userData` restarts the
instance unless `userDataReplaceOnChange`; type, groups, metadata options and volume size change in place.
"""

from __future__ import annotations

import base64
import secrets

from .awaiting import await_state
from .aws_api import AwsApi, one, present, remove
from .cloud_kinds import Kind, Plain, words
from .properties import Failure

METADATA = {
    "httpEndpoint": "HttpEndpoint",
    "httpTokens": "HttpTokens",
    "httpPutResponseHopLimit": "HttpPutResponseHopLimit",
    "httpProtocolIpv6": "HttpProtocolIpv6",
    "instanceMetadataTags": "InstanceMetadataTags",
}
ROOT_DEVICE = {
    "encrypted": "Encrypted",
    "kmsKeyId": "KmsKeyId",
    "volumeSize": "VolumeSize",
    "volumeType": "VolumeType",
    "iops": "Iops",
    "throughput": "Throughput",
    "deleteOnTermination": "DeleteOnTermination",
}
ENDED = ("terminated", "shutting-down")


def create_instance(api: AwsApi, inputs: Plain) -> str:
    user_data = inputs.get("userData")
    if user_data is None and inputs.get("userDataBase64"):
        user_data = base64.b64decode(inputs["userDataBase64"]).decode()
    network: Plain = present(
        SubnetId=inputs.get("subnetId"),
        SecurityGroupIds=inputs.get("vpcSecurityGroupIds"),
        PrivateIpAddress=inputs.get("privateIp"),
    )
    if "associatePublicIpAddress" in inputs:
        public = inputs["associatePublicIpAddress"]
        interface = {"DeviceIndex": 0, "AssociatePublicIpAddress": public, "DeleteOnTermination": True}
        if "SecurityGroupIds" in network:
            interface["Groups"] = network.pop("SecurityGroupIds")
        network = {"NetworkInterfaces": [{**interface, **network}]}
    if primary := inputs.get("primaryNetworkInterface"):
        if network:
            raise Failure(f"primaryNetworkInterface brings these itself: {', '.join(network)}")
        network = {"NetworkInterfaces": [{"DeviceIndex": 0, "NetworkInterfaceId": primary["networkInterfaceId"]}]}
    placement = present(
        AvailabilityZone=inputs.get("availabilityZone"),
        GroupName=inputs.get("placementGroup"),
        Tenancy=inputs.get("tenancy"),
    )
    metadata = {METADATA[key]: value for key, value in (inputs.get("metadataOptions") or {}).items()}
    specifications = api.tag_spec("instance", inputs.get("tags"))
    volume_tags = inputs.get("volumeTags") or (inputs.get("rootBlockDevice") or {}).get("tags")
    if volume_tags or api.default_tags:
        specifications += api.tag_spec("volume", volume_tags)
    made = api.ec2.run_instances(
        MinCount=1,
        MaxCount=1,
        # A call that timed out and yet succeeded is repeated with the same token, and makes no second one.
        ClientToken=secrets.token_hex(16),
        ImageId=inputs["ami"],
        InstanceType=inputs["instanceType"],
        TagSpecifications=specifications,
        **network,
        **present(
            KeyName=inputs.get("keyName"),
            UserData=user_data,
            MetadataOptions=metadata or None,
            Placement=placement or None,
            BlockDeviceMappings=_root_device(api, inputs),
            CreditSpecification=_credits(inputs),
            Monitoring={"Enabled": True} if inputs.get("monitoring") else None,
            EbsOptimized=inputs.get("ebsOptimized"),
            DisableApiTermination=inputs.get("disableApiTermination"),
            InstanceInitiatedShutdownBehavior=inputs.get("instanceInitiatedShutdownBehavior"),
        ),
    )["Instances"][0]["InstanceId"]
    try:
        _await(api, made, "running")
        if not inputs["sourceDestCheck"]:
            api.ec2.modify_instance_attribute(InstanceId=made, SourceDestCheck={"Value": False})
    except BaseException:
        delete_instance(api, made, {})
        raise
    return made


def _root_device(api: AwsApi, inputs: Plain) -> list[Plain] | None:
    if not inputs.get("rootBlockDevice"):
        return None
    image = one(api.ec2.describe_images, "Images", ImageIds=[inputs["ami"]])
    if image is None:
        raise Failure(f"couldn't find resource: image {inputs['ami']}")
    given = {"deleteOnTermination": True, **inputs["rootBlockDevice"]}
    ebs = {ROOT_DEVICE[key]: value for key, value in given.items() if key in ROOT_DEVICE}
    return [{"DeviceName": image.get("RootDeviceName") or "/dev/xvda", "Ebs": ebs}]


def _credits(inputs: Plain) -> Plain | None:
    chosen = (inputs.get("creditSpecification") or {}).get("cpuCredits")
    return {"CpuCredits": chosen} if chosen else None


def _instance(api: AwsApi, made: str) -> Plain | None:
    found = one(api.ec2.describe_instances, "Reservations", InstanceIds=[made])
    return found["Instances"][0] if found else None


def _await(api: AwsApi, made: str, state: str) -> None:
    found = await_state(
        lambda: _instance(api, made),
        lambda i: i is None or i["State"]["Name"] in (state, "terminated"),
        f"instance {made} to be {state}",
        lambda i: i["State"]["Name"],
    )
    if found is None or found["State"]["Name"] != state:
        reason = (found or {}).get("StateReason", {}).get("Message", "")
        raise Failure(f"instance {made} ended before it was {state}: {reason}")


def read_instance(api: AwsApi, made: str, state: Plain) -> Plain | None:
    found = _instance(api, made)
    if found is None or found["State"]["Name"] in ENDED:
        return None
    interface = next(iter(found.get("NetworkInterfaces", [])), {})
    options = found.get("MetadataOptions") or {}
    return {
        "ami": found["ImageId"],
        "arn": api.arn(interface.get("OwnerId") or api.account(), f"instance/{made}"),
        "associatePublicIpAddress": _has_public(interface, state),
        "availabilityZone": found["Placement"]["AvailabilityZone"],
        "instanceState": found["State"]["Name"],
        "instanceType": found["InstanceType"],
        "keyName": found.get("KeyName") or None,
        "metadataOptions": {name: options[key] for name, key in METADATA.items() if key in options},
        "placementGroup": found["Placement"].get("GroupName") or None,
        "primaryNetworkInterface": {
            "networkInterfaceId": interface.get("NetworkInterfaceId"),
            "deleteOnTermination": interface.get("Attachment", {}).get("DeleteOnTermination", False),
        },
        "primaryNetworkInterfaceId": interface.get("NetworkInterfaceId"),
        "privateDns": found.get("PrivateDnsName"),
        "privateIp": found.get("PrivateIpAddress"),
        "publicDns": found.get("PublicDnsName") or "",
        "publicIp": found.get("PublicIpAddress") or "",
        "rootBlockDevice": _root_volume(api, found),
        "sourceDestCheck": found.get("SourceDestCheck", True) and interface.get("SourceDestCheck", True),
        "subnetId": found.get("SubnetId"),
        "tenancy": found["Placement"].get("Tenancy"),
        "vpcSecurityGroupIds": [group["GroupId"] for group in found["SecurityGroups"] or interface.get("Groups", [])],
        **api.tag_outputs(found, state),
    }


def _has_public(interface: Plain, state: Plain) -> bool | None:
    """An Elastic IP is not an address that was given at launch (its owner is the account, not "amazon")."""
    owner = interface.get("Association", {}).get("IpOwnerId")
    return state.get("associatePublicIpAddress", bool(owner == "amazon"))


def _root_volume(api: AwsApi, found: Plain) -> Plain | None:
    device = next((m for m in found["BlockDeviceMappings"] if m["DeviceName"] == found.get("RootDeviceName")), None)
    device = device or next(iter(found["BlockDeviceMappings"]), None)
    volume = device and one(api.ec2.describe_volumes, "Volumes", VolumeIds=[device["Ebs"]["VolumeId"]])
    if not volume:
        return None
    values = {key: volume[field] for key, field in ROOT_DEVICE.items() if field in volume and key != "volumeSize"}
    return {
        **values,
        "tags": {tag["Key"]: tag["Value"] for tag in volume.get("Tags", [])},
        "volumeSize": volume["Size"],
        "volumeId": volume["VolumeId"],
        "deviceName": device["DeviceName"],
        "deleteOnTermination": device["Ebs"].get("DeleteOnTermination", True),
    }


def update_instance(api: AwsApi, made: str, state: Plain, inputs: Plain, changed: set[str]) -> None:
    ec2 = api.ec2
    if "vpcSecurityGroupIds" in changed and inputs.get("vpcSecurityGroupIds"):
        ec2.modify_instance_attribute(InstanceId=made, Groups=inputs["vpcSecurityGroupIds"])
    if "sourceDestCheck" in changed:
        ec2.modify_instance_attribute(InstanceId=made, SourceDestCheck={"Value": inputs["sourceDestCheck"]})
    if "disableApiTermination" in changed:
        value = bool(inputs.get("disableApiTermination"))
        ec2.modify_instance_attribute(InstanceId=made, DisableApiTermination={"Value": value})
    if "metadataOptions" in changed and inputs.get("metadataOptions"):
        options = {METADATA[key]: value for key, value in inputs["metadataOptions"].items()}
        ec2.modify_instance_metadata_options(InstanceId=made, **options)
    if changed & {"instanceType", "userData", "userDataBase64"}:
        ec2.stop_instances(InstanceIds=[made])
        _await(api, made, "stopped")
        if "instanceType" in changed:
            ec2.modify_instance_attribute(InstanceId=made, InstanceType={"Value": inputs["instanceType"]})
        if "userData" in changed:
            ec2.modify_instance_attribute(InstanceId=made, UserData={"Value": (inputs.get("userData") or "").encode()})
        ec2.start_instances(InstanceIds=[made])
        _await(api, made, "running")
    if "rootBlockDevice" in changed and (state.get("rootBlockDevice") or {}).get("volumeId"):
        old, new = state["rootBlockDevice"], inputs.get("rootBlockDevice") or {}
        api.retag(old["volumeId"], {"tagsAll": old.get("tags")}, new)
    root, held = inputs.get("rootBlockDevice") or {}, state.get("rootBlockDevice") or {}
    sized = {ROOT_DEVICE[k]: root[k] for k in ("volumeSize", "volumeType", "iops", "throughput") if k in root}
    if "rootBlockDevice" in changed and any(root[k] != held.get(k) for k in root if ROOT_DEVICE.get(k) in sized):
        sized = {("Size" if key == "VolumeSize" else key): value for key, value in sized.items()}
        ec2.modify_volume(VolumeId=held["volumeId"], **sized)
    api.retag(made, state, inputs)


def delete_instance(api: AwsApi, made: str, state: Plain) -> None:
    remove(api.ec2.terminate_instances, InstanceIds=[made])
    await_state(
        lambda: _instance(api, made), lambda i: i is None or i["State"]["Name"] == "terminated", f"the end of {made}"
    )


KINDS = {
    "aws:ec2/instance:Instance": Kind(
        resource="pulumi_aws.ec2.instance:Instance",
        create=create_instance,
        read=read_instance,
        update=update_instance,
        delete=delete_instance,
        in_place=words(
            "instanceType vpcSecurityGroupIds sourceDestCheck metadataOptions rootBlockDevice tags volumeTags userData"
            " userDataBase64 userDataReplaceOnChange disableApiTermination monitoring creditSpecification"
            " instanceInitiatedShutdownBehavior"
        ),
        replaces=words(
            "ami subnetId keyName privateIp availabilityZone associatePublicIpAddress placementGroup tenancy"
            " ebsOptimized primaryNetworkInterface region"
        ),
        computed=words(
            "privateIp availabilityZone associatePublicIpAddress keyName placementGroup tenancy subnetId"
            " vpcSecurityGroupIds metadataOptions rootBlockDevice ebsOptimized primaryNetworkInterface"
        ),
        defaults={"sourceDestCheck": True, "userDataReplaceOnChange": False},
        unordered=words("vpcSecurityGroupIds"),
        choices={
            "metadataOptions.httpTokens": lambda api: api.shape("HttpTokensState"),
            "metadataOptions.httpEndpoint": lambda api: api.shape("InstanceMetadataEndpointState"),
            "metadataOptions.instanceMetadataTags": lambda api: api.shape("InstanceMetadataTagsState"),
            "rootBlockDevice.volumeType": lambda api: api.shape("VolumeType"),
            "tenancy": lambda api: api.shape("Tenancy"),
            # The program may use a type newer than its SDK; botocore's list is the newer one of the two.
            "instanceType": lambda api: api.shape("InstanceType"),
        },
    ),
}
