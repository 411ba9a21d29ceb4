"""Route tables, their routes, and which subnet uses which.

Source: `ForceNew` in terraform-provider-aws v6 internal/service/ec2/vpc_route_table.go, vpc_route.go,
vpc_route_table_association.go.
"""

from __future__ import annotations

from .aws_api import AwsApi, one, present, remove
from .cloud_kinds import Kind, Plain, words
from .properties import Failure

ROUTE_TARGETS = {
    "gatewayId": "GatewayId",
    "natGatewayId": "NatGatewayId",
    "networkInterfaceId": "NetworkInterfaceId",
    "vpcPeeringConnectionId": "VpcPeeringConnectionId",
    "transitGatewayId": "TransitGatewayId",
}


def create_table(api: AwsApi, inputs: Plain) -> str:
    tags = api.tag_spec("route-table", inputs.get("tags"))
    made = api.ec2.create_route_table(VpcId=inputs["vpcId"], TagSpecifications=tags)["RouteTable"]["RouteTableId"]
    for route in inputs.get("routes") or []:
        api.ec2.create_route(RouteTableId=made, **_route_call(route, route.get("cidrBlock")))
    return made


def read_table(api: AwsApi, made: str, state: Plain) -> Plain | None:
    table = one(api.ec2.describe_route_tables, "RouteTables", RouteTableIds=[made])
    if table is None:
        return None
    owner = table.get("OwnerId") or api.account()
    routes = [
        {"cidrBlock": route["DestinationCidrBlock"], **_targets(route)}
        for route in table["Routes"]
        if route.get("GatewayId") != "local" and "DestinationCidrBlock" in route
    ]
    outputs = {"arn": api.arn(owner, f"route-table/{made}"), "ownerId": owner, "vpcId": table["VpcId"]}
    return {**outputs, "routes": routes, **api.tag_outputs(table, state)}


def update_table(api: AwsApi, made: str, state: Plain, inputs: Plain, changed: set[str]) -> None:
    if "routes" in changed:
        new = {route["cidrBlock"]: route for route in inputs.get("routes") or []}
        old = {route["cidrBlock"]: route for route in state.get("routes") or []}
        for cidr in old.keys() - new.keys():
            remove(api.ec2.delete_route, RouteTableId=made, DestinationCidrBlock=cidr)
        for cidr, route in new.items():
            call = api.ec2.replace_route if cidr in old else api.ec2.create_route
            call(RouteTableId=made, **_route_call(route, cidr))
    api.retag(made, state, inputs)


def _targets(route: Plain) -> Plain:
    # AWS gives a NAT gateway in its own field, never in GatewayId.
    return {name: route[key] for name, key in ROUTE_TARGETS.items() if route.get(key)}


def _route_call(route: Plain, cidr: str | None) -> Plain:
    targets = {key: route[name] for name, key in ROUTE_TARGETS.items() if route.get(name)}
    if len(targets) != 1 or not cidr:
        raise Failure(f"a route needs one IPv4 destination and one target of {', '.join(ROUTE_TARGETS)}: {route}")
    return {"DestinationCidrBlock": cidr, **targets}


def create_route(api: AwsApi, inputs: Plain) -> str:
    cidr = inputs.get("destinationCidrBlock")
    api.ec2.create_route(RouteTableId=inputs["routeTableId"], **_route_call(inputs, cidr))
    return f"{inputs['routeTableId']}/{cidr}"


def read_route(api: AwsApi, made: str, state: Plain) -> Plain | None:
    table = one(api.ec2.describe_route_tables, "RouteTables", RouteTableIds=[state["routeTableId"]])
    for route in table["Routes"] if table else []:
        if route.get("DestinationCidrBlock") == state["destinationCidrBlock"]:
            wide = dict.fromkeys(ROUTE_TARGETS, "") | _targets(route)
            return {**wide, "origin": route.get("Origin"), "state": route.get("State")}
    return None


def update_route(api: AwsApi, made: str, state: Plain, inputs: Plain, changed: set[str]) -> None:
    api.ec2.replace_route(
        RouteTableId=inputs["routeTableId"], **_route_call(inputs, inputs.get("destinationCidrBlock"))
    )


def delete_route(api: AwsApi, made: str, state: Plain) -> None:
    remove(api.ec2.delete_route, RouteTableId=state["routeTableId"], DestinationCidrBlock=state["destinationCidrBlock"])


def create_association(api: AwsApi, inputs: Plain) -> str:
    wanted = present(
        RouteTableId=inputs["routeTableId"], SubnetId=inputs.get("subnetId"), GatewayId=inputs.get("gatewayId")
    )
    return api.ec2.associate_route_table(**wanted)["AssociationId"]


def read_association(api: AwsApi, made: str, state: Plain) -> Plain | None:
    wanted = [{"Name": "association.route-table-association-id", "Values": [made]}]
    table = one(api.ec2.describe_route_tables, "RouteTables", Filters=wanted)
    return table and {"routeTableId": table["RouteTableId"]}


def delete_association(api: AwsApi, made: str, state: Plain) -> None:
    remove(api.ec2.disassociate_route_table, AssociationId=made)


KINDS = {
    "aws:ec2/routeTable:RouteTable": Kind(
        resource="pulumi_aws.ec2.route_table:RouteTable",
        create=create_table,
        read=read_table,
        update=update_table,
        delete=lambda api, made, state: remove(api.ec2.delete_route_table, RouteTableId=made),
        in_place=words("routes tags"),
        replaces=words("vpcId region"),
        computed=words("routes"),
        unordered=words("routes"),
    ),
    "aws:ec2/route:Route": Kind(
        resource="pulumi_aws.ec2.route:Route",
        create=create_route,
        read=read_route,
        update=update_route,
        delete=delete_route,
        in_place=frozenset(ROUTE_TARGETS),
        replaces=words("routeTableId destinationCidrBlock region"),
        computed=words("networkInterfaceId"),
        delete_first=True,
    ),
    "aws:ec2/routeTableAssociation:RouteTableAssociation": Kind(
        resource="pulumi_aws.ec2.route_table_association:RouteTableAssociation",
        create=create_association,
        read=read_association,
        delete=delete_association,
        replaces=words("routeTableId subnetId gatewayId region"),
        delete_first=True,
    ),
}
