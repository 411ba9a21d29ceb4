"""What is asked of Hetzner Cloud, against a recording engine."""

import json

import pytest

pytest.importorskip("pulumi_hcloud", reason="uv sync --extra hcloud")

from tests.components.at_clouds import OPERATOR, declare_at_clouds, opened, site_values

SERVER, FIREWALL = "hcloud:index/server:Server", "hcloud:index/firewall:Firewall"
GROUP = "hcloud:index/placementGroup:PlacementGroup"


def values(**site):
    return site_values("hcloud", "fsn1", **site)


@pytest.fixture(scope="module")
def far():
    return declare_at_clouds(values())


def test_preview_declares_what_up_creates(far):
    assert set(declare_at_clouds(values(), preview=True).made) == set(far.made)


def test_ssh_comes_from_operators_only(far):
    for purpose in ("hubs", "hosts"):
        rules = opened(far.of_type(FIREWALL)[f"s-far-{purpose}"]["rules"], "port", "sourceIps")
        assert rules["tcp", "22"] == [OPERATOR]


def test_a_private_host_has_no_public_side_and_goes_out_by_the_hub(far):
    (net,) = far.of_type(SERVER)["s-web-2"]["publicNets"]
    assert (net["ipv4Enabled"], net["ipv6Enabled"]) == (False, False)
    (route,) = far.of_type("hcloud:index/networkRoute:NetworkRoute").values()
    assert route["destination"] == "0.0.0.0/0" and route["gateway"].startswith("172.30.7.")
    assert "ip route replace default via 172.30.7.1" in far.of_type(SERVER)["s-web-2"]["userData"]


def test_user_data_is_constant(far):
    more = declare_at_clouds(values(hubs={"a": {"id": 1}, "b": {"id": 2}})).of_type(SERVER)
    for name, server in far.of_type(SERVER).items():
        assert more[name]["userData"] == server["userData"]


def test_all_that_can_carry_labels_says_whose_it_is(far):
    for typ in (SERVER, FIREWALL, "hcloud:index/network:Network", "hcloud:index/primaryIp:PrimaryIp"):
        for made in far.of_type(typ).values():
            assert made["labels"]["vcubev-stack"] == "stack" and made["labels"]["vcubev-site"] == "far"


def test_only_a_pair_of_hubs_is_kept_apart(far):
    assert not far.of_type(GROUP)
    pair = declare_at_clouds(values(hubs={"a": {"id": 1}, "b": {"id": 2}}))
    assert len(pair.of_type(GROUP)) == 1
    assert {name for name, s in pair.of_type(SERVER).items() if s.get("placementGroupId")} == {"s-far-a", "s-far-b"}


def test_no_token_is_an_input(monkeypatch):
    monkeypatch.setenv("HCLOUD_TOKEN", "token-of-mine")
    recorder = declare_at_clouds(values())
    assert "token-of-mine" not in json.dumps([args.inputs for args in recorder.made.values()], default=str)
