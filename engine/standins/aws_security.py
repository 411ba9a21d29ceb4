"""Security groups, their rules, and key pairs.

Source: terraform-provider-aws v6 internal/service/ec2/vpc_security_group.go, vpc_security_group_ingress_rule.go,
ec2_key_pair.go. A new group has no egress rule: the plugin takes away the one that AWS makes.
"""

from __future__ import annotations

import json
from typing import Any

from .aws_api import AwsApi, one, present, remove
from .cloud_kinds import Kind, Plain, words
from .properties import Failure

DIRECTIONS = ("ingress", "egress")


def create_group(api: AwsApi, inputs: Plain) -> str:
    made = api.ec2.create_security_group(
        **present(GroupName=inputs["name"], Description=inputs["description"], VpcId=inputs.get("vpcId")),
        TagSpecifications=api.tag_spec("security-group", inputs.get("tags")),
    )["GroupId"]
    try:
        _set_rules(api, made, {"ingress": [], "egress": [], **inputs})
    except BaseException:
        api.ec2.delete_security_group(GroupId=made)
        raise
    return made


def _set_rules(api: AwsApi, made: str, inputs: Plain) -> None:
    group = one(api.ec2.describe_security_groups, "SecurityGroups", GroupIds=[made])
    for direction in DIRECTIONS:
        if direction not in inputs:
            continue
        key = "IpPermissions" if direction == "ingress" else "IpPermissionsEgress"
        held = {_key(p): p for rule in group[key] for p in _split(rule)}
        wanted = {_key(p): p for rule in inputs[direction] or [] for p in _split(_permission(rule, made))}
        if old := [held[k] for k in held.keys() - wanted.keys()]:
            getattr(api.ec2, f"revoke_security_group_{direction}")(GroupId=made, IpPermissions=old)
        if new := [wanted[k] for k in sorted(wanted.keys() - held.keys())]:
            getattr(api.ec2, f"authorize_security_group_{direction}")(GroupId=made, IpPermissions=new)


def _permission(rule: Plain, own: str) -> Plain:
    """Turn an inline rule into EC2's form; "-1" is every protocol, and has no ports."""
    groups = [*(rule.get("securityGroups") or []), *([own] if rule.get("self") else [])]
    said = {"Description": rule["description"]} if rule.get("description") else {}
    made: Plain = {"IpProtocol": rule["protocol"]}
    if rule["protocol"] != "-1":
        made |= {"FromPort": rule["fromPort"], "ToPort": rule["toPort"]}
    ranges = {
        "IpRanges": [{"CidrIp": cidr, **said} for cidr in rule.get("cidrBlocks") or []],
        "Ipv6Ranges": [{"CidrIpv6": cidr, **said} for cidr in rule.get("ipv6CidrBlocks") or []],
        "UserIdGroupPairs": [{"GroupId": group, **said} for group in groups],
    }
    return made | {name: value for name, value in ranges.items() if value}


def _split(permission: Plain) -> list[Plain]:
    base = {key: permission[key] for key in ("IpProtocol", "FromPort", "ToPort") if permission.get(key) is not None}
    if base["IpProtocol"] == "-1":
        base = {"IpProtocol": "-1"}
    kept = words("CidrIp CidrIpv6 GroupId Description")
    return [
        {**base, key: [{k: v for k, v in item.items() if k in kept and v}]}
        for key in ("IpRanges", "Ipv6Ranges", "UserIdGroupPairs")
        for item in permission.get(key) or []
    ]


def _key(permission: Plain) -> str:
    return json.dumps(permission, sort_keys=True)


def _inline(permission: Plain, own: str) -> list[Plain]:
    """Turn EC2's form into inline rules, one for each description, as the state holds them."""
    base = {
        "protocol": permission["IpProtocol"],
        "fromPort": permission.get("FromPort") or 0,
        "toPort": permission.get("ToPort") or 0,
    }
    found: dict[str, Plain] = {}
    for part in _split(permission):
        (item,) = next(value for key, value in part.items() if isinstance(value, list))
        rule = found.setdefault(item.get("Description", ""), {**base, "description": item.get("Description", "")})
        if item.get("GroupId") == own:
            rule["self"] = True
            continue
        name = {"CidrIp": "cidrBlocks", "CidrIpv6": "ipv6CidrBlocks", "GroupId": "securityGroups"}
        key = next(k for k in name if k in item)
        rule.setdefault(name[key], []).append(item[key])
    return list(found.values())


def read_group(api: AwsApi, made: str, state: Plain) -> Plain | None:
    group = one(api.ec2.describe_security_groups, "SecurityGroups", GroupIds=[made])
    if group is None:
        return None
    keys = {"ingress": "IpPermissions", "egress": "IpPermissionsEgress"}
    rules = {d: [rule for p in group[key] for rule in _inline(p, made)] for d, key in keys.items()}
    for direction, found in rules.items():
        # The same rules, grouped another way, are the same.
        given = state.get(direction)
        if given is not None and _wide(given, made) == _wide(found, made):
            rules[direction] = given
    return {
        "arn": api.arn(group["OwnerId"], f"security-group/{made}"),
        "ownerId": group["OwnerId"],
        "name": group["GroupName"],
        "description": group["Description"],
        "vpcId": group.get("VpcId"),
        **rules,
        **api.tag_outputs(group, state),
    }


def _wide(rules: list[Plain], own: str) -> list[str]:
    return sorted(_key(part) for rule in rules for part in _split(_permission(rule, own)))


def update_group(api: AwsApi, made: str, state: Plain, inputs: Plain, changed: set[str]) -> None:
    _set_rules(api, made, {name: inputs[name] for name in DIRECTIONS if name in changed and name in inputs})
    api.retag(made, state, inputs)


def _rule_permission(inputs: Plain) -> Plain:
    sources = {
        "cidrIpv4": ("IpRanges", "CidrIp"),
        "cidrIpv6": ("Ipv6Ranges", "CidrIpv6"),
        "prefixListId": ("PrefixListIds", "PrefixListId"),
        "referencedSecurityGroupId": ("UserIdGroupPairs", "GroupId"),
    }
    given = [name for name in sources if inputs.get(name)]
    if len(given) != 1:
        raise Failure(f"a rule takes exactly one of {', '.join(sources)}; given: {given}")
    key, field = sources[given[0]]
    permission: Plain = {"IpProtocol": inputs["ipProtocol"]}
    if inputs["ipProtocol"] != "-1":
        permission |= present(FromPort=inputs.get("fromPort"), ToPort=inputs.get("toPort"))
    said = present(Description=inputs.get("description"))
    return permission | {key: [{field: inputs[given[0]], **said}]}


def rule_kind(direction: str) -> Kind:
    """Return the kind of a rule that is a resource of its own."""

    def create(api: AwsApi, inputs: Plain) -> str:
        made = getattr(api.ec2, f"authorize_security_group_{direction}")(
            GroupId=inputs["securityGroupId"],
            IpPermissions=[_rule_permission(inputs)],
            TagSpecifications=api.tag_spec("security-group-rule", inputs.get("tags")),
        )
        return made["SecurityGroupRules"][0]["SecurityGroupRuleId"]

    def read(api: AwsApi, made: str, state: Plain) -> Plain | None:
        rule = one(api.ec2.describe_security_group_rules, "SecurityGroupRules", SecurityGroupRuleIds=[made])
        if rule is None or rule["IsEgress"] != (direction == "egress"):
            return None
        ports = {} if rule["IpProtocol"] == "-1" else {"fromPort": rule.get("FromPort"), "toPort": rule.get("ToPort")}
        return {
            "arn": api.arn(rule.get("GroupOwnerId") or api.account(), f"security-group-rule/{made}"),
            "securityGroupRuleId": made,
            "securityGroupId": rule["GroupId"],
            "ipProtocol": rule["IpProtocol"],
            **ports,
            "cidrIpv4": rule.get("CidrIpv4"),
            "cidrIpv6": rule.get("CidrIpv6"),
            "referencedSecurityGroupId": (rule.get("ReferencedGroupInfo") or {}).get("GroupId"),
            "description": rule.get("Description") or None,
            **api.tag_outputs(rule, state),
        }

    def update(api: AwsApi, made: str, state: Plain, inputs: Plain, changed: set[str]) -> None:
        if changed - {"tags"}:
            wanted = present(
                IpProtocol=inputs["ipProtocol"],
                FromPort=inputs.get("fromPort"),
                ToPort=inputs.get("toPort"),
                CidrIpv4=inputs.get("cidrIpv4"),
                CidrIpv6=inputs.get("cidrIpv6"),
                ReferencedGroupId=inputs.get("referencedSecurityGroupId"),
                Description=inputs.get("description"),
            )
            rules = [{"SecurityGroupRuleId": made, "SecurityGroupRule": wanted}]
            api.ec2.modify_security_group_rules(GroupId=inputs["securityGroupId"], SecurityGroupRules=rules)
        if "tags" in changed:
            api.retag(made, state, inputs)

    def delete(api: AwsApi, made: str, state: Plain) -> None:
        call = getattr(api.ec2, f"revoke_security_group_{direction}")
        remove(call, GroupId=state["securityGroupId"], SecurityGroupRuleIds=[made])

    name = f"SecurityGroup{direction.capitalize()}Rule"
    return Kind(
        resource=f"pulumi_aws.vpc.security_group_{direction}_rule:{name}",
        create=create,
        read=read,
        update=update,
        delete=delete,
        in_place=words("ipProtocol fromPort toPort cidrIpv4 cidrIpv6 referencedSecurityGroupId description tags"),
        replaces=words("securityGroupId region"),
    )


def create_key(api: AwsApi, inputs: Plain) -> str:
    tags = api.tag_spec("key-pair", inputs.get("tags"))
    wanted = {"KeyName": inputs["keyName"], "PublicKeyMaterial": inputs["publicKey"].encode()}
    return api.ec2.import_key_pair(**wanted, TagSpecifications=tags)["KeyName"]


def read_key(api: AwsApi, made: str, state: Plain) -> Plain | None:
    key = one(api.ec2.describe_key_pairs, "KeyPairs", KeyNames=[made])
    if key is None:
        return None
    outputs = {"arn": api.arn(api.account(), f"key-pair/{made}"), "keyName": made, "keyPairId": key["KeyPairId"]}
    more: dict[str, Any] = {"fingerprint": key["KeyFingerprint"], "keyType": key.get("KeyType")}
    return {**outputs, **more, **api.tag_outputs(key, state)}


def update_key(api: AwsApi, made: str, state: Plain, inputs: Plain, changed: set[str]) -> None:
    api.retag(state["keyPairId"], state, inputs)


KINDS = {
    "aws:ec2/securityGroup:SecurityGroup": Kind(
        resource="pulumi_aws.ec2.security_group:SecurityGroup",
        create=create_group,
        read=read_group,
        update=update_group,
        delete=lambda api, made, state: remove(api.ec2.delete_security_group, GroupId=made),
        in_place=words("ingress egress tags revokeRulesOnDelete"),
        replaces=words("name description vpcId region"),
        computed=words("ingress egress vpcId"),
        defaults={"description": "Managed by Pulumi", "revokeRulesOnDelete": False},
        unordered=words("ingress egress"),
        autoname="name",
    ),
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": rule_kind("ingress"),
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": rule_kind("egress"),
    "aws:ec2/keyPair:KeyPair": Kind(
        resource="pulumi_aws.ec2.key_pair:KeyPair",
        create=create_key,
        read=read_key,
        update=update_key,
        delete=lambda api, made, state: remove(api.ec2.delete_key_pair, KeyName=made),
        in_place=words("tags"),
        replaces=words("keyName publicKey region"),
        autoname="keyName",
    ),
}
