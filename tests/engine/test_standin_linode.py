"""The `linode` stand-in against the emulated Linode, which checks each request as the API's description says."""

import base64
import threading

import pytest
from werkzeug.serving import make_server

from engine.standins import awaiting
from engine.standins.linode import LinodeProvider
from engine.standins.properties import Failure, is_unknown, to_property
from tests.clouds.faults import Fault
from tests.clouds.linode_cloud import make
from tests.clouds.serving import Quiet
from tests.engine.aws_plugin import CloudPlugin

INSTANCE, VPC, SUBNET = "linode:index/instance:Instance", "linode:index/vpc:Vpc", "linode:index/vpcSubnet:VpcSubnet"
FIREWALL, DEVICE = "linode:index/firewall:Firewall", "linode:index/firewallDevice:FirewallDevice"
GROUP, RESERVED = "linode:index/placementGroup:PlacementGroup", "linode:index/reservedIp:ReservedIp"
REGION = "fr-par"
POLICY = {"inboundPolicy": "DROP", "outboundPolicy": "ACCEPT"}
SSH = {"label": "ssh", "action": "ACCEPT", "protocol": "TCP", "ports": "22", "ipv4s": ["192.0.2.1/32"]}


@pytest.fixture
def cloud(monkeypatch):
    monkeypatch.setenv("LINODE_TOKEN", "emulated")
    monkeypatch.setattr(awaiting, "POLL_SECONDS", 0.02)
    made = make(None)
    server = make_server("127.0.0.1", 0, made, threaded=True, request_handler=Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    made.url = f"http://127.0.0.1:{server.server_port}"
    yield made
    server.shutdown()


@pytest.fixture
def linode(cloud):
    return CloudPlugin(LinodeProvider(), {"url": cloud.url})


@pytest.fixture
def vpc(linode):
    return linode.make(VPC, label="paris", region=REGION, description="one")


@pytest.fixture
def subnet(linode, vpc):
    return linode.make(SUBNET, label="paris", vpcId=int(vpc.id), ipv4="172.30.2.0/24")


@pytest.fixture
def firewall(linode):
    return linode.make(FIREWALL, label="hubs", inbounds=[SSH], tags=["vcubev"], **POLICY)


@pytest.fixture
def machine(linode, subnet, firewall):
    return linode.make(INSTANCE, **wanted(subnet, firewall))


def wanted(subnet, firewall, **more):
    user_data = base64.b64encode(b"#cloud-config\n{}").decode()
    return {
        "label": "hub",
        "region": REGION,
        "type": "g6-nanode-1",
        "image": "linode/debian12",
        "interfaces": [{"purpose": "public", "primary": True}, {"purpose": "vpc", "subnetId": int(subnet.id)}],
        "metadatas": [{"userData": to_property(user_data, secret=True)}],
        "firewallId": int(firewall.id),
        "tags": ["vcubev"],
        **more,
    }


def test_what_is_made_is_read_changed_and_taken_away(linode, cloud, vpc, subnet, firewall, machine):
    group = linode.make(GROUP, label="pair", region=REGION, placementGroupType="anti_affinity:local")
    reserved = linode.make(RESERVED, region=REGION)
    made = [machine, firewall, group, reserved, subnet, vpc]
    assert all(one.refresh() for one in made)
    assert [one.diff().diffs for one in made] == [[]] * 6, "a second `up` would change something"
    assert machine["ipAddress"].startswith("198.18.") and machine["interfaces"][1]["ipv4"]["vpc"] == "172.30.2.2"
    assert machine.state["metadatas"].is_secret or machine.state["metadatas"].value[0].value["userData"].is_secret
    machine.update(label="hub-1", tags=["vcubev", "more"])
    machine.update(placementGroup={"id": int(group.id)})
    firewall.update(inbounds=[{**SSH, "ports": "22, 1000-2000"}], tags=[])
    vpc.update(description="two")
    subnet.update(label="other")
    for one in made:
        one.delete()
        assert not one.refresh(), f"{one.kind} is still there"
        one.delete()
    assert cloud.things() == {}


@pytest.mark.parametrize(
    ("kind", "inputs", "said"),
    [
        (VPC, {"label": "a", "region": REGION, "colour": "red"}, "Unexpected property 'colour'"),
        (VPC, {"label": "a"}, "Missing required property 'region'"),
        (INSTANCE, {"region": REGION, "stackscriptId": 1}, "is not in the stand-in"),
        (INSTANCE, {"region": REGION, "interfaces": [{"subnetId": 1}]}, "Missing required property 'interfaces[0]"),
        (INSTANCE, {"region": REGION, "diskEncryption": "maybe"}, "expected diskEncryption to be one of"),
        (FIREWALL, {"label": "abc", "inboundPolicy": "REJECT", "outboundPolicy": "DROP"}, "expected inboundPolicy"),
        (FIREWALL, {"label": "abc", **POLICY, "inbounds": [{**SSH, "port": "22"}]}, "Unexpected property"),
    ],
)
def test_an_input_that_the_real_schema_refuses_is_refused(linode, kind, inputs, said):
    assert said in " ".join(linode.check(kind, **inputs)[1])


@pytest.mark.parametrize(
    ("kind", "inputs", "said"),
    [
        (VPC, {"label": "a", "region": "fr-paris"}, r"\[400\] region"),
        (VPC, {"label": "a--b", "region": REGION}, r"\[400\] label"),
        (INSTANCE, {"region": REGION, "type": "g6-huge"}, r"\[400\] type"),
        (INSTANCE, {"region": REGION, "firewallId": 7}, r"firewall_id: Invalid"),
        (INSTANCE, {"region": REGION, "metadatas": [{"userData": "no base64!"}]}, "must be base64"),
        (INSTANCE, {"region": REGION, "interfaces": [{"purpose": "vpc", "subnetId": 7}]}, "No such subnet"),
        (FIREWALL, {"label": "a" * 33, **POLICY}, r"\[400\] label"),
        (FIREWALL, {"label": "abc", **POLICY, "inbounds": [{**SSH, "protocol": "ICMP"}]}, "not allowed with ICMP"),
    ],
)
def test_what_the_api_refuses_is_told_in_its_own_words(linode, kind, inputs, said):
    with pytest.raises(Failure, match=said):
        linode.make(kind, **inputs)


def test_a_change_that_cannot_be_made_in_place_replaces(vpc, subnet, machine):
    assert vpc.diff(region="us-east").replaces == ["region"]
    assert subnet.diff(ipv4="172.30.3.0/24").replaces == ["ipv4"]
    for name, value in (("image", "linode/debian13"), ("metadatas", [{"userData": "eA=="}]), ("firewallId", 5)):
        assert machine.diff(**{name: value}).replaces == [name]


def test_a_machine_can_be_of_the_newer_generation(linode, subnet, firewall):
    interfaces = [
        {"public": {}, "firewallId": int(firewall.id)},
        {"vpc": {"subnetId": int(subnet.id)}, "firewallId": int(firewall.id)},
    ]
    inputs = wanted(subnet, firewall, linodeInterfaces=interfaces)
    machine = linode.make(INSTANCE, **{k: v for k, v in inputs.items() if k not in ("interfaces", "firewallId")})
    assert machine.refresh() and machine.diff().diffs == []
    assert machine["linodeInterfaces"][1]["vpc"]["ipv4"]["addresses"][0]["address"] == "172.30.2.2"


def test_a_private_machine_has_no_public_address(linode, subnet, firewall):
    inner = [{"purpose": "vpc", "subnetId": int(subnet.id), "primary": True, "ipv4": {"vpc": "172.30.2.9"}}]
    machine = linode.make(INSTANCE, **wanted(subnet, firewall, interfaces=inner))
    assert (machine["ipAddress"], machine["interfaces"][0]["ipv4"]["vpc"]) == ("", "172.30.2.9")


def test_a_firewall_guards_one_more_machine(linode, cloud, subnet, machine):
    other = linode.make(FIREWALL, label="other", **POLICY)
    free = linode.make(INSTANCE, region=REGION, image="linode/debian12", label="free")
    joined = linode.make(DEVICE, firewallId=int(other.id), entityId=int(free.id))
    assert joined.refresh() and joined.diff().diffs == []
    with pytest.raises(Failure, match="already has a firewall"):
        linode.make(DEVICE, firewallId=int(other.id), entityId=int(machine.id))
    joined.delete()
    assert not joined.refresh()


def test_what_a_preview_cannot_know_is_unknown(linode, subnet, firewall):
    made = linode.make(INSTANCE, preview=True, **wanted(subnet, firewall))
    assert is_unknown(made.state["interfaces"]) and is_unknown(made.state["ipAddress"])


def test_a_throttled_call_is_tried_again_and_one_that_cannot_be_done_is_told(linode, cloud):
    cloud.faults.order(Fault("POST /vpcs", times=2, status=429, message="Too many requests"))
    made = linode.make(VPC, label="late", region=REGION)
    assert cloud.faults.calls["POST /vpcs"] == 3 and made.refresh()
    cloud.faults.order(Fault("POST /linode/instances", status=400, message="Account Limit reached."))
    with pytest.raises(Failure, match=r"\[400\] Account Limit reached"):
        linode.make(INSTANCE, region=REGION, label="one-more")


def test_a_machine_that_does_not_come_to_run_is_given_up_in_the_time_that_the_program_says(linode, cloud):
    cloud.faults.order(Fault("POST /linode/instances", boot_fails=True))
    with pytest.raises(Failure, match="to be running: not in 1 s; it is offline"):
        linode.make(INSTANCE, timeout=1, region=REGION, image="linode/debian12", label="dead")
    assert cloud.things() == {}, "the engine knows no id of it, so nobody would ever take it away"


def test_a_token_in_the_configuration_is_refused(monkeypatch):
    monkeypatch.delenv("LINODE_TOKEN", raising=False)
    with pytest.raises(Failure, match="set LINODE_TOKEN"):
        CloudPlugin(LinodeProvider(), {"token": "x"})
    with pytest.raises(Failure, match="set LINODE_TOKEN"):
        CloudPlugin(LinodeProvider(), {}).make(VPC, label="a", region=REGION)
