"""The `aws` stand-in, called as the engine does, against moto in this process."""

from __future__ import annotations

import asyncio
from typing import Any

from pulumi.provider.experimental import provider as p

from engine.standins import sdk_schema
from engine.standins.aws import AwsProvider
from engine.standins.properties import Failure, Properties, plain, to_property

VPC, SUBNET = "aws:ec2/vpc:Vpc", "aws:ec2/subnet:Subnet"
GATEWAY, TABLE, ROUTE = (
    "aws:ec2/internetGateway:InternetGateway",
    "aws:ec2/routeTable:RouteTable",
    "aws:ec2/route:Route",
)
ASSOCIATION, NAT = "aws:ec2/routeTableAssociation:RouteTableAssociation", "aws:ec2/natGateway:NatGateway"
INTERFACE = "aws:ec2/networkInterface:NetworkInterface"
EIP, EIP_ASSOCIATION = "aws:ec2/eip:Eip", "aws:ec2/eipAssociation:EipAssociation"
GROUP, KEY, INSTANCE = "aws:ec2/securityGroup:SecurityGroup", "aws:ec2/keyPair:KeyPair", "aws:ec2/instance:Instance"
INGRESS, EGRESS = (
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
)


class CloudPlugin:
    """A stand-in of a cloud: what is made is kept with its id, type and inputs, as the engine keeps it."""

    def __init__(self, provider: p.Provider, settings: dict[str, Any]) -> None:
        self.provider = provider
        self.configured(settings)

    def configured(self, settings: dict[str, Any]) -> None:
        args = {name: to_property(value) for name, value in settings.items()}
        asyncio.run(self.provider.configure(p.ConfigureRequest({}, args, True, False)))

    def check(self, kind: str, **inputs: Any) -> tuple[Properties, list[str]]:
        news = {name: to_property(value) for name, value in inputs.items()}
        answer = asyncio.run(self.provider.check(p.CheckRequest(urn(kind), {}, news, b"1234567")))
        return answer.inputs, [failure.reason for failure in answer.failures or []]

    def make(self, kind: str, preview: bool = False, timeout: float = 0, **inputs: Any) -> Made:
        checked, failures = self.check(kind, **inputs)
        if failures:
            raise Failure("; ".join(failures))
        answer = asyncio.run(self.provider.create(p.CreateRequest(urn(kind), checked, timeout, preview)))
        return Made(self, kind, answer.resource_id or "", answer.properties, checked)

    def invoke(self, token: str, **args: Any) -> dict[str, Any]:
        given = {name: to_property(value) for name, value in args.items()}
        answer = asyncio.run(self.provider.invoke(p.InvokeRequest(token, given)))
        return plain(to_property(answer.return_value))


class Made:
    """One resource that the plugin has made."""

    def __init__(self, plugin: CloudPlugin, kind: str, made: str, state: Properties, inputs: Properties) -> None:
        self.plugin, self.kind, self.id, self.state, self.inputs = plugin, kind, made, state, inputs
        wrong = sdk_schema.state_problems(plugin.provider.kinds[kind].resource, state)
        assert not wrong, ("the SDK would not read this state", wrong)

    def __getitem__(self, name: str) -> Any:
        return plain(self.state[name])

    def diff(self, ignoring: list[str] | None = None, **changes: Any) -> p.DiffResponse:
        news = {**self.inputs, **{name: to_property(value) for name, value in changes.items()}}
        request = p.DiffRequest(urn(self.kind), self.id, self.state, news, ignoring or [])
        return asyncio.run(self.plugin.provider.diff(request))

    def update(self, ignoring: list[str] | None = None, **changes: Any) -> None:
        """Change in place, and find nothing more to change."""
        found = self.diff(ignoring, **changes)
        assert found.changes and not found.replaces, (found.diffs, found.replaces)
        self.inputs = {**self.inputs, **{name: to_property(value) for name, value in changes.items()}}
        request = p.UpdateRequest(urn(self.kind), self.id, self.state, self.inputs, 0, ignoring or [], False)
        self.state = asyncio.run(self.plugin.provider.update(request)).properties
        left = self.diff(ignoring)
        assert left.diffs == [], (left.detailed_diff, "a second `up` would change it again")

    def refresh(self) -> bool:
        """Whether it is still there; what the cloud says of it is taken over."""
        request = p.ReadRequest(urn(self.kind), self.id, self.state, self.inputs)
        answer = asyncio.run(self.plugin.provider.read(request))
        if not answer.resource_id:
            return False
        self.state, self.inputs = answer.properties, answer.inputs
        return True

    def delete(self) -> None:
        asyncio.run(self.plugin.provider.delete(p.DeleteRequest(urn(self.kind), self.id, self.state, 0)))


def urn(kind: str) -> str:
    return f"urn:pulumi:stack::project::{kind}::one"


def aws_plugin(**settings: Any) -> CloudPlugin:
    return CloudPlugin(AwsProvider(), {"region": "us-west-2", **settings})
