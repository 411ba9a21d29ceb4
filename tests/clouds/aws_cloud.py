"""An AWS on this computer: moto's server, whose instances are lab machines.

    python -m tests.clouds.aws_cloud --stack PROJECT.STACK

prints its address as one line of JSON and serves until its standard input ends. With no stack, no machine boots.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from io import BytesIO
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from moto.core import DEFAULT_ACCOUNT_ID
from moto.ec2.models import ec2_backends, elastic_ip_addresses, elastic_network_interfaces
from moto.ec2.models.instances import StateReason
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.ssm.models import ssm_backends
from werkzeug.wrappers import Request, Response

from lab.records import Rule
from tests.clouds import aws_images
from tests.clouds.bridge import Bridge, PublicAddresses, Wanted
from tests.clouds.faults import Fault, Faults
from tests.clouds.serving import control, serve

ANSWER = (
    '<?xml version="1.0" encoding="UTF-8"?><Response><Errors><Error><Code>{code}</Code><Message>{message}</Message>'
    "</Error></Errors><RequestID>00000000-0000-0000-0000-000000000000</RequestID></Response>"
)
MACHINE_STATES = ("pending", "running", "stopping", "stopped")


class AwsCloud:
    """The server's application: faults and what moto lacks before moto."""

    def __init__(self, addresses: PublicAddresses) -> None:
        self.faults, self.bridge = Faults(), None
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._seeded: set[str] = set()
        self._answers: dict[str, tuple[int, bytes, str]] = {}
        elastic_ip_addresses.random_ip = addresses.take
        elastic_network_interfaces.random_public_ip = addresses.take

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        request = Request(environ)
        if request.path.startswith("/_cloud/"):
            return control(request, self)(environ, start_response)
        body = request.get_data()
        environ["wsgi.input"] = BytesIO(body)  # read once, it would be empty for moto
        fields = parse_qs(body.decode(errors="replace"))
        target = request.headers.get("X-Amz-Target", "").rpartition(".")[2]
        action = (fields.get("Action") or [target or request.path])[0]
        self._seed(request)
        fault = self.faults.next(action)
        if fault and fault.refuses:
            return _told(fault)(environ, start_response)
        token = (fields.get("ClientToken") or [""])[0] if action.startswith(("Run", "Create")) else ""
        # moto makes a second instance where AWS answers a repeated token with the first.
        if token in self._answers:
            status, answer, kind = self._answers[token]
            return Response(answer, status, content_type=kind)(environ, start_response)
        if action == "DescribeTags":
            self._forget_tags_of_the_gone()
        response = self._carried_out(environ, fault)
        if token and response.status_code == 200:
            self._answers[token] = (response.status_code, response.get_data(), response.content_type or "")
        if self.bridge:
            self.bridge.wake()
            if action == "TerminateInstances":
                self.bridge.settle()
        return (_told(fault) if fault and fault.after else response)(environ, start_response)

    def _carried_out(self, environ: dict[str, Any], fault: Fault | None) -> Response:
        if fault is None:
            return Response.from_app(self._moto, environ)
        with self.bridge.looking if self.bridge else nullcontext():
            before = self._instances()
            response = Response.from_app(self._moto, environ)
            made = self._instances() - before
            if fault.boot_fails:
                _end(made)
            elif fault.boot_after_seconds and self.bridge:
                self.bridge.held_back |= dict.fromkeys(made, time.monotonic() + fault.boot_after_seconds)
        return response

    def _seed(self, request: Request) -> None:
        scope = request.headers.get("Authorization", "").partition("Credential=")[2].split("/")
        region = scope[2] if len(scope) > 2 else ""
        if region and region not in self._seeded:
            self._seeded.add(region)
            account = DEFAULT_ACCOUNT_ID
            aws_images.seed(ec2_backends[account][region], ssm_backends[account][region], region)

    def _forget_tags_of_the_gone(self) -> None:
        """At AWS a thing's tags go with it, or stay as long as it is listed after its end. moto keeps them all."""
        for region in tuple(self._seeded):  # more than one asks at once
            ec2 = ec2_backends[DEFAULT_ACCOUNT_ID][region]
            held = {
                "i-": {instance.id for reservation in ec2.reservations.values() for instance in reservation.instances},
                "nat-": set(ec2.nat_gateways),
                "vpc-": set(ec2.vpcs),
                "subnet-": {subnet for zone in ec2.subnets.values() for subnet in zone},
                "sg-": {group for groups in ec2.groups.values() for group in groups},
                "igw-": set(ec2.internet_gateways),
                "rtb-": set(ec2.route_tables),
                "eni-": set(ec2.enis),
                "eipalloc-": {address.allocation_id for address in ec2.addresses},
                "key-": {pair.id for pair in ec2.key_pairs.values()},
                "vol-": set(ec2.volumes),
            }
            for identity in list(ec2.tags):
                kind = identity.partition("-")[0] + "-"
                if kind in held and identity not in held[kind]:
                    ec2.tags.pop(identity, None)

    def _instances(self) -> set[str]:
        return {instance.id for _, instance in _instances()}

    def look(self) -> list[Wanted]:
        return [_wanted(backend, instance) for backend, instance in _instances()]

    def things(self) -> dict[str, list[str]]:
        """Return the ids of all that there is, but for what every account has from the start."""
        found: dict[str, list[str]] = {}
        for region in self._seeded:
            ec2 = ec2_backends[DEFAULT_ACCOUNT_ID][region]
            own = [vpc.id for vpc in ec2.vpcs.values() if not vpc.is_default]
            kinds = {
                "vpc": own,
                "subnet": [s.id for zone in ec2.subnets.values() for s in zone.values() if s.vpc_id in own],
                "security-group": [g for vpc in own for g, group in ec2.groups[vpc].items() if group.name != "default"],
                "internet-gateway": list(ec2.internet_gateways),
                "nat-gateway": [n.id for n in ec2.nat_gateways.values() if n.state not in ("deleted", "deleting")],
                "elastic-ip": [address.allocation_id for address in ec2.addresses],
                "network-interface": [e.id for e in ec2.enis.values() if e.subnet.vpc_id in own],
                "key-pair": list(ec2.key_pairs),
            }
            for kind, ids in kinds.items():
                found.setdefault(kind, []).extend(ids)
        found["instance"] = sorted(self._instances())
        return {kind: ids for kind, ids in found.items() if ids}


def _instances() -> list[tuple[Any, Any]]:
    return [
        (backend, instance)
        for backend in list(ec2_backends[DEFAULT_ACCOUNT_ID].values())
        for reservation in list(backend.reservations.values())
        for instance in list(reservation.instances)
        if instance.state in MACHINE_STATES
    ]


def _end(ids: set[str]) -> None:
    """Let instances end by themselves, as those do whose launch fails inside AWS."""
    for _, instance in _instances():
        if instance.id in ids:
            instance.terminate()
            code = "Server.InternalError"
            instance.state_reason = StateReason(f"{code}: Internal error on launch", code)


def _wanted(backend: Any, instance: Any) -> Wanted:
    vpc = backend.vpcs[instance.vpc_id]
    others = [i for b, i in _instances() if b is backend and i.vpc_id == instance.vpc_id]
    user_data = instance.user_data.decode() if instance.user_data else ""
    return Wanted(
        key=instance.id,
        site=vpc.id,
        private_prefix=vpc.cidr_block,
        private_address=instance.private_ip,
        public_address=instance.public_ip or "",
        user_data=user_data,
        rules=tuple(_rules(backend, instance, others)),
        running=instance.state in ("pending", "running"),
    )


def _rules(backend: Any, instance: Any, others: list[Any]) -> list[Rule]:
    groups = {group.id: group for group in _groups(instance)}
    rules = []
    for group in sorted(groups.values(), key=lambda g: g.id):
        for rule in group.ingress_rules:
            sources = [rule.ip_range["CidrIp"]] if rule.ip_range.get("CidrIp") else []
            if member_of := rule.source_group.get("GroupId"):
                sources += [f"{one.private_ip}/32" for one in others if member_of in _group_ids(one)]
            for protocol in ("tcp", "udp", "icmp") if rule.ip_protocol == "-1" else (rule.ip_protocol,):
                ports = [] if protocol == "icmp" else [_ports(rule)]
                if sources and protocol in ("tcp", "udp", "icmp"):
                    rules.append(Rule(protocol=protocol, ports=ports, sources=sources))
    return rules


def _groups(instance: Any) -> list[Any]:
    """Its own; one that was launched on an interface has that interface's."""
    return list(instance.security_groups or instance.nics[0].group_set)


def _group_ids(instance: Any) -> set[str]:
    return {group.id for group in _groups(instance)}


def _ports(rule: Any) -> str:
    if rule.ip_protocol == "-1":
        return "1-65535"
    first, last = int(rule.from_port), int(rule.to_port)
    return str(first) if first == last else f"{max(first, 1)}-{last}"


def _told(fault: Fault) -> Response:
    said = ANSWER.format(code=escape(fault.code), message=escape(fault.message))
    return Response(said, fault.status, content_type="text/xml")


def make(stack: tuple[str, str] | None) -> AwsCloud:
    addresses = PublicAddresses(0)
    cloud = AwsCloud(addresses)
    if stack:
        cloud.bridge = Bridge("aws", stack, addresses, cloud.look)
    return cloud


if __name__ == "__main__":
    serve(make)
