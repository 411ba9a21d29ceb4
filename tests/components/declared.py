"""Declares a mesh against a recording engine: what would be made, with which inputs."""

from __future__ import annotations

import asyncio
import copy
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pulumi
from pulumi.runtime.mocks import MockMonitor
from pulumi.runtime.rpc import _special_sig_key, deserialize_properties
from ruamel.yaml import YAML

from components.clouds import known_clouds, sign_in
from components.mesh import Mesh, MeshArgs
from components.model.stackfile import load
from components.revocation import READ_STATE
from tests.components import certificates

ROOT = Path(__file__).parents[2]


def lab_values() -> dict[str, Any]:
    """Return the lab stack file's values, free to change."""
    config = YAML(typ="safe").load((ROOT / "stacks" / "Pulumi.lab.yaml").read_text())["config"]
    return copy.deepcopy({key.removeprefix("vcubev:"): value for key, value in config.items()})


class HalfSavedError(grpc.RpcError):
    """What the engine answers who reads a state that is being saved."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNKNOWN

    def details(self) -> str:
        return "failed to load checkpoint: EOF"


@dataclass
class Recorder(pulumi.runtime.Mocks):
    """Answers as clouds would, the same for the same name. Refuses what the engine would refuse."""

    made: dict[tuple[str, str], pulumi.runtime.MockResourceArgs] = field(default_factory=dict)
    secret: dict[tuple[str, str], set[str]] = field(default_factory=dict)  # the inputs that are secret as a whole
    options: dict[tuple[str, str], Any] = field(default_factory=dict)  # the engine's request: ignoreChanges and so on
    asked: list[pulumi.runtime.MockCallArgs] = field(default_factory=list)
    state: dict[str, Any] = field(default_factory=dict)  # URN -> type and outputs: what the run before left
    unreadable: int = 0  # how many times the state can't be read at first
    outputs: dict[str, Any] = field(default_factory=dict)  # URN -> what components registered

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        key = (args.typ, args.name)
        # Mocks take two resources of one name; the engine ends with "Duplicate resource URN".
        assert key not in self.made, f"two resources {key}"
        self.secret[key] = {name for name, value in args.inputs.items() if _is_secret(value)}
        args.inputs = _unwrapped(args.inputs)
        self.made[key] = args
        digest = digest_of(args.typ, args.name)
        if args.typ == "pulumi:index:Stash":
            return f"{args.name}-id", {**args.inputs, "output": args.inputs["input"]}
        if args.typ in MADE_OF_INPUTS:
            return f"{args.name}-id", {**args.inputs, **MADE_OF_INPUTS[args.typ](args.inputs, digest)}
        number = str(int(digest[:7], 16)) if args.typ.startswith(NUMBERING) else f"{args.name}-id"
        return number, {**args.inputs, **OUTPUTS.get(args.typ, lambda name, digest: {})(args.name, digest)}

    def call(self, args: pulumi.runtime.MockCallArgs) -> dict[str, Any]:
        if args.token == READ_STATE:
            if self.unreadable:
                self.unreadable -= 1
                raise HalfSavedError
            return {"name": args.args["stackName"], "outputs": copy.deepcopy(self.state)}
        assert args.token in LOOK_UPS, f"the program asks a cloud for more than it should: {args.token}"
        self.asked.append(args)
        return LOOK_UPS[args.token](args.args)

    def state_left(self) -> dict[str, Any]:
        """Return what the engine would keep of this run: URN -> type and outputs."""
        return {urn: {"type": urn.split("::")[2].rpartition("$")[2], "outputs": o} for urn, o in self.outputs.items()}

    def of_type(self, *types: str) -> dict[str, dict[str, Any]]:
        """Return name -> inputs of the resources of some types."""
        return {name: args.inputs for (typ, name), args in self.made.items() if typ in types}


class Monitor(MockMonitor):
    """Keeps what mocks are not told: a resource's options."""

    def RegisterResource(self, request: Any) -> Any:  # the engine's name
        self.mocks.options[request.type, request.name] = request
        answer = super().RegisterResource(request)
        self.mocks.outputs[answer.urn] = _plain(answer.object)
        return answer

    def RegisterResourceOutputs(self, request: Any) -> Any:  # likewise
        self.mocks.outputs[request.urn] = _plain(request.outputs)
        return super().RegisterResourceOutputs(request)


def _plain(properties: Any) -> dict[str, Any]:
    return _unwrapped(deserialize_properties(properties, keep_unknowns=True))


def digest_of(typ: str, name: str) -> str:
    """Return what a resource's made-up outputs come from."""
    return hashlib.sha256(f"{typ}|{name}".encode()).hexdigest()


def _is_secret(value: Any) -> bool:
    return isinstance(value, dict) and _special_sig_key in value


def _unwrapped(value: Any) -> Any:
    if _is_secret(value):
        return _unwrapped(value["value"])
    if isinstance(value, dict):
        return {key: _unwrapped(inner) for key, inner in value.items()}
    return [_unwrapped(inner) for inner in value] if isinstance(value, list) else value


def _address(network: str, digest: str) -> str:
    return f"{network}.{int(digest[:4], 16) % 254 + 1}"


NUMBERING = ("linode:", "hcloud:")  # their ids are numbers
LOOK_UPS = {
    "aws:ec2/getAmi:getAmi": lambda args: {"id": f"ami-of-{args['filters'][0]['values'][0]}"},
    "aws:ec2/getInternetGateway:getInternetGateway": lambda args: {"internetGatewayId": "igw-given"},
    "aws:index/getAvailabilityZones:getAvailabilityZones": lambda args: {"names": ["zone-a", "zone-b", "zone-c"]},
}
# Type -> what is made of the inputs and the digest.
MADE_OF_INPUTS = {
    "tls:index/certRequest:CertRequest": lambda inputs, digest: certificates.request(inputs),
    "tls:index/selfSignedCert:SelfSignedCert": certificates.self_signed,
    "tls:index/locallySignedCert:LocallySignedCert": certificates.locally_signed,
}
OUTPUTS = {
    "aws:ec2/eip:Eip": lambda name, digest: {
        "publicIp": _address("198.51.100", digest),
        "allocationId": f"eipalloc-{digest[:8]}",
    },
    "aws:ec2/networkInterface:NetworkInterface": lambda name, digest: {"privateIp": _address("172.30.1", digest)},
    "linode:index/instance:Instance": lambda name, digest: {
        "ipv4s": [_address("198.51.100", digest)],
        "interfaces": [{"purpose": "vpc", "ipv4": {"vpc": _address("172.30.1", digest)}}],
    },
    "hcloud:index/primaryIp:PrimaryIp": lambda name, digest: {"ipAddress": _address("198.51.100", digest)},
    "hcloud:index/server:Server": lambda name, digest: {"networks": [{"ip": _address("172.30.1", digest)}]},
    "tls:index/privateKey:PrivateKey": certificates.key,
    "command:remote:Command": lambda name, digest: {"stdout": f"ssh-ed25519 {digest}\n", "stderr": ""},
    "lab:index:Network": lambda name, digest: {"operator_address": "198.19.255.0"},
    "lab:index:Machine": lambda name, digest: {
        "instance_id": f"i-{digest[:8]}",
        "public_address": _address("203.0.113", digest),
        "private_address": _address("172.30.1", digest),
    },
}


def declare(
    values: dict[str, Any],
    preview: bool = False,
    twice: bool = False,
    signed_in: bool = False,
    after: Recorder | None = None,
    unreadable: int = 0,
) -> Recorder:
    """Build the mesh of a stack file's values; return what it declared.

    Args:
        twice: Build a second one, of another name, below a component.
        signed_in: Hand each site its provider instance, as the program does.
        after: The run before, whose state this one finds.
        unreadable: How many times that state can't be read at first.
    """
    recorder = Recorder(state=after.state_left() if after else {}, unreadable=unreadable)
    asyncio.set_event_loop(asyncio.new_event_loop())
    pulumi.runtime.set_mocks(recorder, preview=preview, monitor=Monitor(recorder))
    topology = load(values, known_clouds())

    @pulumi.runtime.test
    def build() -> None:
        mesh = Mesh("m", MeshArgs(topology, sign_in(topology) if signed_in else {}))
        pulumi.export("outputs", mesh.stack_outputs())
        if twice:
            parent = pulumi.ComponentResource("test:index:Parent", "parent")
            Mesh("other", MeshArgs(topology), pulumi.ResourceOptions(parent=parent))

    build()
    return recorder
