"""What is asked of Linode, against a recording engine."""

import base64
import json

import pytest

from components.clouds import linode
from tests.components.at_clouds import OPERATOR, declare_at_clouds, opened, site_values

INSTANCE = "linode:index/instance:Instance"
FIREWALL = "linode:index/firewall:Firewall"
GROUP = "linode:index/placementGroup:PlacementGroup"
TAGS = {"vcubev:stack=stack", "vcubev:site=far"}


def values(**site):
    return site_values("linode", "fr-par", **site)


@pytest.fixture(scope="module")
def far():
    return declare_at_clouds(values())


def rules(recorder, purpose):
    return opened(recorder.of_type(FIREWALL)[f"s-far-{purpose}"]["inbounds"], "ports", "ipv4s")


def test_preview_declares_what_up_creates(far):
    assert set(declare_at_clouds(values(), preview=True).made) == set(far.made)


def test_ssh_comes_from_operators_only(far):
    for purpose in ("hubs", "hosts"):
        assert rules(far, purpose)["tcp", "22"] == [OPERATOR]


def test_all_that_is_not_opened_is_dropped(far):
    for firewall in far.of_type(FIREWALL).values():
        assert (firewall["inboundPolicy"], firewall["outboundPolicy"]) == ("DROP", "ACCEPT")


def test_a_private_host_is_open_to_its_hubs_alone_and_has_no_public_side(far):
    host = far.of_type(INSTANCE)["s-web-2"]
    assert [interface["purpose"] for interface in host["interfaces"]] == ["vpc"]
    assert all(source.endswith("/32") for sources in rules(far, "private").values() for source in sources)
    assert set(rules(far, "private")) == {("tcp", "22"), ("icmp", "")}


def test_each_machine_is_behind_its_purposes_firewall_from_its_first_moment(far):
    machines = far.of_type(INSTANCE)
    assert len({machines[name]["firewallId"] for name in ("s-far-a", "s-web-1", "s-web-2")}) == 3


def test_user_data_is_constant_base64_and_secret(far):
    more = values()
    more["sites"]["far"]["hubs"]["b"] = {"id": 2}
    more["sites"]["far"]["hosts"]["web-3"] = {"role": "web", "id": 3}
    again = declare_at_clouds(more).of_type(INSTANCE)
    for name, machine in far.of_type(INSTANCE).items():
        (metadata,) = machine["metadatas"]
        assert base64.b64decode(metadata["userData"]).startswith(b"#cloud-config")
        assert again[name]["metadatas"] == machine["metadatas"], "Linode replaces a machine whose user_data changes"
        assert "metadatas" in far.secret[INSTANCE, name]


def test_machines_are_known_by_their_public_address_and_private_ones_by_their_hub(far):
    connections = far.of_type("command:remote:Command")
    public = connections["s-web-1-first-contact"]["connection"]
    private = connections["s-web-2-first-contact"]["connection"]
    assert public["host"].startswith("203.0.113.") and not public.get("proxy")
    assert private["host"].startswith("172.30.7.") and private["proxy"]["host"].startswith("203.0.113.")


def test_nobody_has_a_password_or_key_of_roots(far):
    for machine in far.of_type(INSTANCE).values():
        assert "rootPass" not in machine and machine["authorizedKeys"] == [linode.NOBODYS_KEY]


def test_machines_and_firewalls_carry_the_tags_that_leftovers_looks_for(far):
    for made in (*far.of_type(INSTANCE).values(), *far.of_type(FIREWALL).values()):
        assert set(made["tags"]) == TAGS
    (vpc,) = far.of_type("linode:index/vpc:Vpc").values()
    assert set(vpc["description"].split()) == TAGS


def test_only_a_pair_of_hubs_is_kept_apart(far):
    assert not far.of_type(GROUP) and "placementGroup" not in far.of_type(INSTANCE)["s-far-a"]
    pair = declare_at_clouds(values(hubs={"a": {"id": 1}, "b": {"id": 2}}))
    assert [group["placementGroupType"] for group in pair.of_type(GROUP).values()] == ["anti_affinity:local"]
    grouped = {name for name, machine in pair.of_type(INSTANCE).items() if machine.get("placementGroup")}
    assert grouped == {"s-far-a", "s-far-b"}


def test_private_hosts_go_out_by_a_hub_whose_address_never_changes(far):
    hub, host = far.of_type(INSTANCE)["s-far-a"], far.of_type(INSTANCE)["s-web-2"]
    address = hub["interfaces"][-1]["ipv4"]["vpc"]
    assert address == "172.30.7.253"
    boot = base64.b64decode(host["metadatas"][0]["userData"]).decode()
    assert f"ip route replace default via {address}" in boot and "169.254.169.254/32 via 172.30.7.1" in boot
    public = far.of_type(INSTANCE)["s-web-1"]["metadatas"][0]["userData"]
    assert "default via" not in base64.b64decode(public).decode()


def test_no_token_is_an_input(far, monkeypatch):
    monkeypatch.setenv("LINODE_TOKEN", "token-of-mine")
    recorder = declare_at_clouds(values())
    assert "token-of-mine" not in json.dumps([args.inputs for args in recorder.made.values()], default=str)


@pytest.mark.parametrize("longest", [32, 64])
def test_labels_are_short_unique_and_as_linode_takes_them(longest):
    names = [f"{'x' * count}--{end}" for count in range(1, 80) for end in ("a", "b")]
    labels = {linode._label(name, longest) for name in names}
    assert len(labels) == len(names) and all(len(label) <= longest and "--" not in label for label in labels)
