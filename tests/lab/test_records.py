"""Which addresses the lab gives, and what it still knows of machines that an earlier version made."""

import json
from ipaddress import IPv4Network

import pytest

from lab import addresses, faults, router, underlay
from lab.records import Machine, Network
from lab.system import LabError

NETWORK = {"id": "net-1", "number": 1, "private_prefix": "10.1.0.0/29", "public_prefix": "198.18.0.0/27"}
OF_OLD = {
    "id": "i-1",
    "number": 1,
    "network_id": "net-1",
    "firewall_id": "fw-1",
    "image": "debian-12",
    "image_path": "/image",
    "public": True,
    "address": "198.18.0.2",
    "mtu_bytes": 1500,
}


@pytest.fixture
def network():
    return Network.model_validate(NETWORK)


def test_a_public_machine_has_an_address_of_each_prefix_and_keeps_them(network):
    made = addresses.lease(network, "hub", True, [])
    assert made[0] in network.public_prefix and made[1] in network.private_prefix
    other, none = addresses.lease(network, "web-1", False, ["hub"])
    assert other in network.private_prefix and other != made[1] and none is None
    assert addresses.lease(network, "hub", True, []) == made, "peers know it by them"


def test_leases_of_machines_that_are_gone_go_first_and_never_one_of_a_pair(network):
    live = []
    for number in range(20):
        name = f"hub-{number}"
        pair = addresses.lease(network, name, True, live)
        assert pair == addresses.lease(network, name, True, live)
        live = [name]
    with pytest.raises(LabError, match=r"10\.1\.0\.0/29 holds no more machines; late"):
        for number in range(6):
            addresses.lease(network, f"late-{number}", False, [f"late-{n}" for n in range(number)])


def test_a_machine_that_an_earlier_version_made_works_as_it_did(network):
    machine = Machine.model_validate_json(json.dumps(OF_OLD))
    assert [*map(str, machine.addresses)] == ["198.18.0.2"]
    assert underlay._way_within(network, machine) == []
    assert "ip saddr != { 198.18.0.2 } drop" in router.ruleset(network, [], [machine])


def test_no_fault_is_told_of_a_link_that_nobody_narrowed():
    machine = Machine.model_validate(OF_OLD | {"mtu_bytes": 9001})
    assert faults.describe(machine) == []
    machine.mtu_bytes = 1500
    assert faults.describe(machine) == ["MTU 1500"]


def test_what_a_router_takes_from_a_machine_names_both_of_its_addresses(network):
    machine = Machine.model_validate(OF_OLD | {"private_address": "10.1.0.2", "mtu_silent": True})
    rules = router.ruleset(network, [], [machine])
    assert "ip saddr != { 198.18.0.2, 10.1.0.2 } drop" in rules
    assert "0xc6120002" in rules and "0x0a010002" in rules
    assert IPv4Network("10.1.0.0/29") == network.private_prefix and "snat ip to 198.18.0.2" in rules
