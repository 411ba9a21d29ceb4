"""Instances.

Source: terraform-provider-linode v3 (6aef35f) linode/instance/schema_resource.go, resource.go: a change of `metadatas`
(user data), image, keys, addresses or `firewallId` replaces; label, tags, type and placement group change in place.
"""

from __future__ import annotations

import secrets

from .awaiting import await_state
from .cloud_kinds import Kind, Plain, words
from .linode_api import LinodeApi, given
from .properties import Failure

SPECS = {"accelerated_devices": "acceleratedDevices"}


def create_instance(api: LinodeApi, inputs: Plain) -> str:
    metadata = next(iter(inputs.get("metadatas") or []), None)
    image = inputs.get("image")
    # As the official plugin: nobody knows the password, and the state does not hold it.
    root_pass = inputs.get("rootPass") or (secrets.token_urlsafe(32) + "aA1!" if image else None)
    made = str(
        api.post(
            "/linode/instances",
            region=inputs["region"],
            type=inputs["type"],
            **_interfaces(inputs),
            **given(
                label=inputs.get("label"),
                tags=inputs.get("tags"),
                image=image,
                root_pass=root_pass,
                authorized_keys=inputs.get("authorizedKeys"),
                authorized_users=inputs.get("authorizedUsers"),
                metadata={"user_data": metadata["userData"]} if metadata else None,
                firewall_id=inputs.get("firewallId"),
                private_ip=inputs.get("privateIp"),
                placement_group=_placement(inputs),
                booted=inputs.get("booted"),
                swap_size=inputs.get("swapSize"),
                backups_enabled=inputs.get("backupsEnabled"),
                disk_encryption=inputs.get("diskEncryption"),
                network_helper=inputs.get("networkHelper"),
                ipv4=inputs.get("ipv4s"),
            ),
        )["id"]
    )
    try:
        if image and inputs.get("booted", True):
            _await(api, made, "running")
        if not inputs["watchdogEnabled"]:
            api.put(f"/linode/instances/{made}", watchdog_enabled=False)
    except BaseException:
        delete_instance(api, made, {})
        raise
    return made


def _placement(inputs: Plain) -> Plain | None:
    group = inputs.get("placementGroup")
    return group and given(id=group["id"], compliant_only=group.get("compliantOnly"))


def _interfaces(inputs: Plain) -> Plain:
    """Both generations: those of a configuration profile, and Linode interfaces."""
    generation = given(interface_generation=inputs.get("interfaceGeneration"))
    if inputs.get("linodeInterfaces"):
        return {
            "interface_generation": "linode",
            "interfaces": [_linode_interface(one) for one in inputs["linodeInterfaces"]],
        }
    if not inputs.get("interfaces"):
        return generation
    return {**generation, "interfaces": [_config_interface(one) for one in inputs["interfaces"]]}


def _config_interface(one: Plain) -> Plain:
    ipv4 = one.get("ipv4") or {}
    return given(
        purpose=one["purpose"],
        label=one.get("label"),
        ipam_address=one.get("ipamAddress"),
        primary=one.get("primary"),
        subnet_id=one.get("subnetId"),
        ipv4=given(vpc=ipv4.get("vpc"), nat_1_1=ipv4.get("nat11")) or None,
        ip_ranges=one.get("ipRanges"),
    )


def _linode_interface(one: Plain) -> Plain:
    made = given(firewall_id=one.get("firewallId"), default_route=one.get("defaultRoute"))
    if (public := one.get("public")) is not None:
        addresses = (public.get("ipv4") or {}).get("addresses")
        made["public"] = given(ipv4={"addresses": addresses} if addresses else None)
    if vpc := one.get("vpc"):
        ipv4 = vpc.get("ipv4") or {}
        addresses = [
            given(address=a.get("address"), primary=a.get("primary"), nat_1_1_address=a.get("nat11Address"))
            for a in ipv4.get("addresses") or []
        ]
        held = given(addresses=addresses or None, ranges=ipv4.get("ranges"))
        made["vpc"] = {"subnet_id": vpc["subnetId"], **given(ipv4=held or None)}
    if vlan := one.get("vlan"):
        made["vlan"] = given(vlan_label=vlan["vlanLabel"], ipam_address=vlan.get("ipamAddress"))
    return made


def _await(api: LinodeApi, made: str, status: str) -> None:
    found = await_state(
        lambda: api.get(f"/linode/instances/{made}"),
        lambda i: i is None or i["status"] == status,
        f"instance {made} to be {status}",
        lambda i: i["status"],
    )
    if found is None:
        raise Failure(f"instance {made} was gone before it was {status}")


def read_instance(api: LinodeApi, made: str, state: Plain) -> Plain | None:
    found = api.get(f"/linode/instances/{made}")
    if found is None:
        return None
    addresses = (api.get(f"/linode/instances/{made}/ips") or {}).get("ipv4", {})
    public = [one["address"] for one in addresses.get("public", [])]
    private = [one["address"] for one in addresses.get("private", [])]
    group = found.get("placement_group")
    interfaces: Plain = {}
    if found.get("interface_generation") == "linode":
        held = api.get(f"/linode/instances/{made}/interfaces") or {}
        interfaces["linodeInterfaces"] = [_linode_output(one) for one in held.get("interfaces", [])]
    else:
        configs = api.every(f"/linode/instances/{made}/configs")
        held = configs[0].get("interfaces") if configs else []
        interfaces["interfaces"] = [_config_output(one) for one in held or []]
    return {
        **interfaces,
        "label": found["label"],
        "region": found["region"],
        "type": found["type"],
        "image": found["image"],
        "status": found["status"],
        "tags": found["tags"],
        "ipv4s": found["ipv4"],
        "ipv6": found["ipv6"],
        "ipAddress": public[0] if public else "",
        "privateIp": bool(private),
        "privateIpAddress": private[0] if private else "",
        "hasUserData": found["has_user_data"],
        "hostUuid": found["host_uuid"],
        "capabilities": found.get("capabilities"),
        # Terraform has no single nested object here, and the SDK follows it.
        "specs": [{SPECS.get(key, key): value for key, value in found["specs"].items()}],
        "booted": found["status"] == "running",
        "watchdogEnabled": found["watchdog_enabled"],
        "diskEncryption": found.get("disk_encryption"),
        "interfaceGeneration": found.get("interface_generation"),
        "placementGroup": group
        and {
            "id": group["id"],
            "label": group["label"],
            "placementGroupType": group["placement_group_type"],
            "placementGroupPolicy": group["placement_group_policy"],
            **given(compliantOnly=(state.get("placementGroup") or {}).get("compliantOnly")),
        },
    }


def _config_output(one: Plain) -> Plain:
    ipv4 = one.get("ipv4") or {}
    held = given(vpc=ipv4.get("vpc"), nat11=ipv4.get("nat_1_1"))
    return given(
        id=one["id"],
        active=one["active"],
        purpose=one["purpose"],
        primary=one["primary"],
        label=one.get("label"),
        ipamAddress=one.get("ipam_address"),
        subnetId=one.get("subnet_id"),
        vpcId=one.get("vpc_id"),
        ipRanges=one.get("ip_ranges") or None,
        ipv4=held or None,
    )


def _linode_output(one: Plain) -> Plain:
    made = given(defaultRoute=one.get("default_route"), firewallId=one.get("firewall_id"))
    if (public := one.get("public")) is not None:
        made["public"] = {"ipv4": {"addresses": public["ipv4"]["addresses"]}}
    if vpc := one.get("vpc"):
        addresses = [
            given(address=a["address"], primary=a["primary"], nat11Address=a.get("nat_1_1_address"))
            for a in vpc["ipv4"]["addresses"]
        ]
        made["vpc"] = {"subnetId": vpc["subnet_id"], "ipv4": {"addresses": addresses}}
    return made


def update_instance(api: LinodeApi, made: str, state: Plain, inputs: Plain, changed: set[str]) -> None:
    path = f"/linode/instances/{made}"
    if changed & {"region", "interfaces"}:
        raise Failure(f"the stand-in for the linode plugin cannot change {sorted(changed)} of a machine that runs")
    if changed & {"label", "tags", "watchdogEnabled"}:
        told = given(label=inputs.get("label"), tags=inputs.get("tags") or [])
        api.put(path, watchdog_enabled=inputs["watchdogEnabled"], **told)
    if "placementGroup" in changed:
        if old := state.get("placementGroup"):
            api.post(f"/placement/groups/{old['id']}/unassign", linodes=[int(made)])
        if new := _placement(inputs):
            more = given(compliant_only=new.get("compliant_only"))
            api.post(f"/placement/groups/{new['id']}/assign", linodes=[int(made)], **more)
    if "type" in changed:
        api.post(f"{path}/resize", type=inputs["type"], migration_type=inputs["migrationType"])
        _await(api, made, "running")
    if "booted" in changed and "booted" in inputs:
        api.post(f"{path}/{'boot' if inputs['booted'] else 'shutdown'}")
        _await(api, made, "running" if inputs["booted"] else "offline")


def delete_instance(api: LinodeApi, made: str, state: Plain) -> None:
    path = f"/linode/instances/{made}"
    api.remove(path)
    await_state(lambda: api.get(path), lambda found: found is None, f"the end of instance {made}")


KINDS = {
    "linode:index/instance:Instance": Kind(
        resource="pulumi_linode.instance:Instance",
        create=create_instance,
        read=read_instance,
        update=update_instance,
        delete=delete_instance,
        in_place=words(
            "label tags type placementGroup booted watchdogEnabled migrationType resizeDisk region interfaces"
            " placementGroupExternallyManaged"
        ),
        replaces=words(
            "image authorizedKeys authorizedUsers rootPass metadatas firewallId privateIp swapSize backupsEnabled"
            " diskEncryption networkHelper ipv4s interfaceGeneration linodeInterfaces"
        ),
        computed=words(
            "label tags ipv4s booted swapSize backupsEnabled interfaceGeneration diskEncryption interfaces"
            " linodeInterfaces placementGroup"
        ),
        filled_in=words("interfaces linodeInterfaces placementGroup"),
        unordered=words("tags ipv4s authorizedKeys authorizedUsers"),
        defaults={
            "type": "g6-standard-1",
            "watchdogEnabled": True,
            "migrationType": "cold",
            "resizeDisk": False,
            "placementGroupExternallyManaged": False,
        },
        choices={
            "migrationType": lambda api: ("cold", "warm"),
            "diskEncryption": lambda api: ("enabled", "disabled"),
            "interfaceGeneration": lambda api: ("legacy_config", "linode"),
        },
    ),
}
