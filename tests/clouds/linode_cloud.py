"""A Linode on this computer: its API over HTTP, whose instances are lab machines.

    python -m tests.clouds.linode_cloud --stack PROJECT.STACK

prints its address as one line of JSON and serves until its standard input ends. With no stack, no machine boots.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable
from ipaddress import IPv4Network
from typing import Any

import jsonschema
from werkzeug.wrappers import Request, Response

from tests.clouds.bridge import Bridge, PublicAddresses
from tests.clouds.faults import Faults
from tests.clouds.linode_schema import BODIES
from tests.clouds.linode_state import Account, Refused, Thing
from tests.clouds.serving import control, serve

# What a machine's status goes through: one step at each look at it.
BOOTING = {"provisioning": "booting", "booting": "running"}
Route = Callable[["LinodeCloud", dict[str, str], Thing], Any]
ROUTES: list[tuple[str, re.Pattern[str], str, Route]] = []


def route(operation: str) -> Callable[[Route], Route]:
    method, _, path = operation.partition(" ")
    pattern = re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path) + "$")

    def remember(answer: Route) -> Route:
        ROUTES.append((method, pattern, operation, answer))
        return answer

    return remember


class LinodeCloud:
    """The server's application."""

    def __init__(self, addresses: PublicAddresses) -> None:
        self.account, self.faults, self.bridge = Account(addresses), Faults(), None

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        request = Request(environ)
        if request.path.startswith("/_cloud/"):
            return control(request, self)(environ, start_response)
        try:
            status, answer = 200, self._answer(request)
        except Refused as refused:
            said = {"reason": refused.reason, **({"field": refused.field} if refused.field else {})}
            status, answer = refused.status, {"errors": [said]}
        if self.bridge:
            self.bridge.wake()
            if request.method == "DELETE":
                self.bridge.settle()
        return Response(json.dumps(answer), status, content_type="application/json")(environ, start_response)

    def _answer(self, request: Request) -> Any:
        path = re.sub(r"^/v4(beta)?", "", request.path)
        if not request.headers.get("Authorization", "").startswith("Bearer "):
            raise Refused(401, "Invalid Token")
        for method, pattern, operation, answer in ROUTES:
            if method == request.method and (match := pattern.match(path)):
                fault = self.faults.next(operation)
                if fault and fault.refuses:
                    raise Refused(fault.status, fault.message)
                body = _body(request, operation)
                with self.account.lock:
                    before = set(self.account.instances)
                    found = answer(self, match.groupdict(), body)
                    new = set(self.account.instances) - before
                    for made in new if fault and fault.boot_fails else ():
                        self.account.instances[made]["_boot_fails"] = True
                    if fault and fault.boot_after_seconds and self.bridge:
                        late = time.monotonic() + fault.boot_after_seconds
                        self.bridge.held_back |= dict.fromkeys(map(str, new), late)
                if fault and fault.after:
                    raise Refused(fault.status, fault.message)
                return found
        raise Refused(404, f"Not found: {request.method} {path}")

    def things(self) -> dict[str, list[str]]:
        held = {
            "instance": self.account.instances,
            "vpc": self.account.vpcs,
            "firewall": self.account.firewalls,
            "placement-group": self.account.groups,
            "reserved-ip": self.account.reserved,
        }
        return {kind: [str(key) for key in things] for kind, things in held.items() if things}

    def instance(self, ids: dict[str, str]) -> Thing:
        return _held(self.account.instances, ids["id"])


def _held(things: dict[int, Thing], key: str) -> Thing:
    if not key.isdigit() or int(key) not in things:
        raise Refused(404, "Not found")
    return things[int(key)]


def _body(request: Request, operation: str) -> Thing:
    if request.method not in ("POST", "PUT"):
        return {}
    try:
        body = json.loads(request.get_data() or b"{}")
        jsonschema.validate(body, BODIES[operation])
    except json.JSONDecodeError:
        raise Refused(400, "Invalid JSON") from None
    except jsonschema.ValidationError as error:
        error = jsonschema.exceptions.best_match([error])
        raise Refused(400, error.message, error.json_path.removeprefix("$").removeprefix(".")) from None
    return body


def shown(thing: Thing) -> Thing:
    return {name: value for name, value in thing.items() if not name.startswith("_")}


def page(things: Iterable[Thing]) -> Thing:
    data = [shown(thing) for thing in things]
    return {"data": data, "page": 1, "pages": 1, "results": len(data)}


@route("GET /linode/instances")
def list_instances(cloud: LinodeCloud, ids: dict[str, str], body: Thing) -> Any:
    return page(cloud.account.instances.values())


@route("POST /linode/instances")
def create_instance(cloud: LinodeCloud, ids: dict[str, str], body: Thing) -> Any:
    return shown(cloud.account.create_instance(body))


@route("GET /linode/instances/{id}")
def get_instance(cloud: LinodeCloud, ids: dict[str, str], body: Thing) -> Any:
    machine = cloud.instance(ids)
    if machine["_boots"]:
        machine["status"] = BOOTING.get(machine["status"], machine["status"])
        if machine["_boot_fails"] and machine["status"] == "running":
            machine.update(status="offline", _boots=False)
    elif machine["status"] == "provisioning":
        machine["status"] = "offline"
    return shown(machine)


@route("PUT /linode/instances/{id}")
def put_instance(cloud: LinodeCloud, ids: dict[str, str], body: Thing) -> Any:
    machine = cloud.instance(ids)
    cloud.account.unique(cloud.account.instances, body.get("label"), machine["id"])
    machine |= body
    return shown(machine)


@route("DELETE /linode/instances/{id}")
def delete_instance(cloud: LinodeCloud, ids: dict[str, str], body: Thing) -> Any:
    cloud.account.delete_instance(cloud.instance(ids))
    return {}


@route("POST /linode/instances/{id}/boot")
def boot_instance(cloud: LinodeCloud, ids: dict[str, str], body: Thing) -> Any:
    cloud.instance(ids).update(status="booting", _boots=True)
    return {}


@route("POST /linode/instances/{id}/shutdown")
def shut_instance(cloud: LinodeCloud, ids: dict[str, str], body: Thing) -> Any:
    cloud.instance(ids).update(status="offline")
    return {}


@route("POST /linode/instances/{id}/resize")
def resize_instance(cloud: LinodeCloud, ids: dict[str, str], body: Thing) -> Any:
    cloud.instance(ids).update(type=body["type"], status="booting")
    return {}


@route("GET /vpcs")
def list_vpcs(cloud: LinodeCloud, ids: dict[str, str], body: Thing) -> Any:
    return page(cloud.account.vpcs.values())


@route("POST /vpcs")
def create_vpc(cloud: LinodeCloud, ids: dict[str, str], body: Thing) -> Any:
    cloud.account.unique(cloud.account.vpcs, body["label"])
    vpc = cloud.account.new(**{"description": "", **body}, subnets=[])
    cloud.account.vpcs[vpc["id"]] = vpc
    return shown(vpc)


@route("GET /vpcs/{id}")
def get_vpc(cloud: LinodeCloud, ids: dict[str, str], body: Thing) -> Any:
    vpc = _held(cloud.account.vpcs, ids["id"])
    return {**shown(vpc), "subnets": [shown(subnet) for subnet in vpc["subnets"]]}


@route("PUT /vpcs/{id}")
def put_vpc(cloud: LinodeCloud, ids: dict[str, str], body: Thing) -> Any:
    vpc = _held(cloud.account.vpcs, ids["id"])
    cloud.account.unique(cloud.account.vpcs, body.get("label"), vpc["id"])
    vpc |= body
    return shown(vpc)


@route("DELETE /vpcs/{id}")
def delete_vpc(cloud: LinodeCloud, ids: dict[str, str], body: Thing) -> Any:
    vpc = _held(cloud.account.vpcs, ids["id"])
    if any(cloud.account.members(subnet["id"]) for subnet in vpc["subnets"]):
        raise Refused(409, "Linodes are still attached to a subnet of this VPC")
    del cloud.account.vpcs[vpc["id"]]
    return {}


@route("POST /vpcs/{id}/subnets")
def create_subnet(cloud: LinodeCloud, ids: dict[str, str], body: Thing) -> Any:
    vpc = _held(cloud.account.vpcs, ids["id"])
    try:
        prefix = IPv4Network(body["ipv4"])
    except ValueError as error:
        raise Refused(400, str(error), "ipv4") from None
    if not prefix.is_private or prefix.prefixlen > 29:
        raise Refused(400, "Must be a private prefix of at most 29 bits", "ipv4")
    if any(prefix.overlaps(IPv4Network(other["ipv4"])) for other in vpc["subnets"]):
        raise Refused(400, "Overlaps another subnet of the VPC", "ipv4")
    subnet = cloud.account.new(**body, linodes=[], databases=[], nodebalancers=[])
    subnet |= {"_region": vpc["region"], "_vpc": vpc["id"]}
    vpc["subnets"].append(subnet)
    return shown(subnet)


def _subnet(cloud: LinodeCloud, ids: dict[str, str]) -> Thing:
    vpc = _held(cloud.account.vpcs, ids["id"])
    return _held({subnet["id"]: subnet for subnet in vpc["subnets"]}, ids["other"])


@route("GET /vpcs/{id}/subnets/{other}")
def get_subnet(cloud: LinodeCloud, ids: dict[str, str], body: Thing) -> Any:
    subnet = _subnet(cloud, ids)
    return {**shown(subnet), "linodes": cloud.account.members(subnet["id"])}


@route("PUT /vpcs/{id}/subnets/{other}")
def put_subnet(cloud: LinodeCloud, ids: dict[str, str], body: Thing) -> Any:
    subnet = _subnet(cloud, ids)
    subnet |= body
    return shown(subnet)


@route("DELETE /vpcs/{id}/subnets/{other}")
def delete_subnet(cloud: LinodeCloud, ids: dict[str, str], body: Thing) -> Any:
    subnet = _subnet(cloud, ids)
    if cloud.account.members(subnet["id"]):
        raise Refused(409, "Linodes are still attached to this subnet")
    cloud.account.vpcs[subnet["_vpc"]]["subnets"].remove(subnet)
    return {}


from tests.clouds import linode_guards, linode_interfaces  # noqa: E402, F401  (their routes)


def make(stack: tuple[str, str] | None) -> LinodeCloud:
    addresses = PublicAddresses(1)
    cloud = LinodeCloud(addresses)
    if stack:
        cloud.bridge = Bridge("linode", stack, addresses, cloud.account.look)
    return cloud


if __name__ == "__main__":
    from tests.clouds.linode_cloud import make as make_once  # not this module's second self, whose routes are empty

    serve(make_once)
