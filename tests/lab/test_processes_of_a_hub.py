"""Hubs that get a second OpenVPN process for hosts, lose one of the two, and go back to one, under traffic."""

import json
import time

import pytest

from tests.lab.operating import told
from tests.lab.pinging import EVERY_WAY, pings, settle
from tests.lab.worktree import WorkTree

# A computer that is busy with other tests loses packets by itself.
pytestmark = [pytest.mark.lab, pytest.mark.alone]
HUBS, NAMES = ("oregon-a", "paris-a"), ("oregon/a", "paris/a")  # as the lab has them, and as status does
# Hosts with even addresses are at the first process of every hub, the others at the second.
FIRST_ONLY = (("web-2", "10.100.2.2"), ("db-2", "10.100.1.2"))
MOVED_SECONDS = 150
HALF_A_SECOND = 25  # packets


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    tree = WorkTree(tmp_path_factory.mktemp("processes"), "processes")
    with tree.standing():
        yield tree


def say(lab, processes):
    for site in ("oregon", "paris"):
        lab.edit(lambda config, site=site: config["vcubev:sites"][site]["hubs"]["a"].update(processes=processes))


def spread(doors):
    """Tell whether two of the four hosts are at each process.

    A host may hear of a process before that is there; then it goes to it after 30 s (HOME_SECONDS in agents/choice.py).
    """
    return doors == {"tcp": 0, "udp": 2, "udp2": 2}


def wait_for(lab, well, names=NAMES):
    """Wait until the sessions of these hubs at each of their processes are as they should be; return the status."""
    deadline = time.monotonic() + MOVED_SECONDS
    while True:
        state = json.loads(lab.script("status", lab.stack, "--json").stdout)
        doors = {hub["name"]: hub["doors"] for hub in state["hubs"]}
        if all(well(doors[name]) for name in names):
            return state
        assert time.monotonic() < deadline, doors
        time.sleep(2)


def change(lab, processes, well):
    """Give each hub so many processes; return the packets lost until hosts are where they should be, and the status."""
    settle(lab)
    say(lab, processes)
    with pings(lab, EVERY_WAY) as lost:
        done = lab.up()
        assert done.returncode == 0, told(done)
        state = wait_for(lab, well)
    return lost, state


def test_hosts_spread_over_a_second_process_with_no_packet_lost(lab):
    lost, state = change(lab, 2, spread)
    assert lost == dict.fromkeys(EVERY_WAY, 0)
    assert state["well"] and all(hub["transports"] == {"udp": 4, "tcp": 0} for hub in state["hubs"])
    assert all(hub["offload"]["openvpn"] for hub in state["hubs"]), "Debian's OpenVPN is built to ask the kernel"
    assert lab.preview() == {}


def test_a_process_that_is_killed_on_every_hub_takes_no_host_of_the_other_along(lab):
    settle(lab)
    with pings(lab, FIRST_ONLY) as lost:
        for hub in HUBS:
            lab.lab("exec", hub, "--", "systemctl", "kill", "-s", "KILL", "vcubev-hosts@udp2")
        time.sleep(3)
    assert lost == dict.fromkeys(FIRST_ONLY, 0)
    settle(lab)


def test_a_process_that_stays_away_is_gone_round_and_told(lab):
    settle(lab)
    lab.lab("exec", HUBS[0], "--", "systemctl", "stop", "vcubev-hosts@udp2")
    state = wait_for(lab, lambda doors: doors == {"tcp": 0, "udp": 4, "udp2": 0}, NAMES[:1])
    assert {hub["name"]: hub["shut"] for hub in state["hubs"]} == {NAMES[0]: ["udp2"], NAMES[1]: []}
    assert not state["well"]
    lab.lab("exec", HUBS[0], "--", "systemctl", "start", "vcubev-hosts@udp2")
    settle(lab)


def test_one_process_is_enough_again(lab):
    lost, _ = change(lab, 1, lambda doors: doors == {"tcp": 0, "udp": 4})
    # A cloud's firewall closes the port before the hub's hosts have left it: some notice, and go by their other tunnel.
    assert max(lost.values()) <= HALF_A_SECOND, lost
    for hub in HUBS:
        shown = lab.lab("exec", hub, "--", "ip", "-o", "link", "show").stdout
        assert "hosts-udp:" in shown and "hosts-udp2" not in shown
    assert lab.preview() == {}
