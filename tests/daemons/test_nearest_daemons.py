"""A shared address leads to the nearest server for real: the agent, the rules and the names' daemon, in namespaces."""

import os
import shutil

import pytest

from tests.daemons.routed import seen_apart

os.environ["PATH"] += ":/usr/sbin:/sbin"  # where Debian keeps daemons, out of a plain user's PATH
lacking = [program for program in ("nft", "unshare", "ip", "fping", "dnsmasq") if shutil.which(program) is None]
pytestmark = [
    pytest.mark.skipif(bool(lacking), reason=f"not installed: {', '.join(lacking)}"),
    pytest.mark.skipif(os.geteuid() != 0, reason="mounts and makes devices: needs root"),
]
CLIENT_SECONDS = 0.7  # one question that nobody answers, and its Python's start


@pytest.fixture(scope="module")
def seen():
    return seen_apart("tests.daemons.steered", seconds=150)


def test_the_nearest_answers_at_the_shared_address_by_both_protocols_and_families(seen):
    assert seen["all ways"] == ["near"] * 4
    assert seen["first seconds"] < 6


def test_one_whose_check_fails_is_left_for_the_next_and_taken_again_when_it_is_well(seen):
    assert seen["why unwell"] == "failing" and seen["unwell seconds"] < 4
    assert seen["why well again"] == "nearer" and seen["well again seconds"] > 5, "not before it has been well a while"


def test_a_connection_stays_with_its_server_and_a_flow_of_udp_leaves_one_that_is_no_good(seen):
    assert seen["kept before"] == ["near", "near"]
    assert seen["kept while unwell"] == ["near", "middle"]
    assert seen["flow before"] == "near" and seen["flow after"] == "middle"


def test_one_that_dies_is_left_within_moments(seen):
    assert seen["why dead"] == "silent"
    assert seen["dead seconds"] < 2 + CLIENT_SECONDS


def test_the_choice_outlives_the_agent(seen):
    assert seen["without agent"] == seen["with another agent"] == "middle"


def test_a_host_that_hears_nobody_at_all_leaves_no_server_for_it(seen):
    assert seen["after blindness"] == "middle" and seen["why after blindness"] == "silent", (
        "the move before, no new one"
    )


def test_with_no_server_left_clients_are_refused_at_once_until_one_is_back(seen):
    assert [said for said, _ in seen["refused"]] == ["ConnectionRefusedError"] * 2 + ["PermissionError"] * 2
    assert max(seconds for _, seconds in seen["refused"]) < 0.2
    assert seen["back seconds"] < 10
