"""A site of two hubs on lab machines: its own network is the way to them, with packets as large as it carries."""

import json
import re
import time

import pytest

from tests.lab.operating import told
from tests.lab.pinging import pings
from tests.lab.worktree import WorkTree

pytestmark = [pytest.mark.lab, pytest.mark.alone]
ADDRESSES = {"web-1": "10.100.1.1", "db-1": "10.100.2.1", "web-2": "10.100.1.2", "db-2": "10.100.2.2"}
JUMBO_BYTES, EVERYWHERE_BYTES, HEADERS_BYTES = 8800, 1400, 28
WAYS = (("web-1", "10.100.2.1"), ("db-1", "10.100.1.1"), ("web-2", "10.100.1.1"))
FOUND_SECONDS = 90  # a survey's pause, and a tunnel taken anew


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    tree = WorkTree(tmp_path_factory.mktemp("within"), "within")
    tree.edit(lambda config: config["vcubev:sites"]["oregon"]["hubs"].update(b={"id": 3}))
    with tree.standing():
        yield tree


def paths(lab, host):
    """Return the host's tunnels to hubs of its own site, and those to others: (address, size of packets) of each."""
    state = json.loads(lab.lab("exec", host, "--", "cat", "/run/vcubev-paths/state.json").stdout)
    own = "oregon/" if host.endswith("-1") else "paris/"
    found = {True: [], False: []}
    for path in state["paths"].values():
        if path["alive"]:
            found[path["hub"].startswith(own)].append((path["endpoint"], path["mtu_bytes"]))
    return found[True], found[False]


def wait_for(well, seconds=FOUND_SECONDS):
    deadline = time.monotonic() + seconds
    while not (seen := well()):
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(1)
    return seen


def largest(lab, host, name):
    """Return how large the packets are that come through from a host to another, unsplit."""
    for size in (JUMBO_BYTES, EVERYWHERE_BYTES):
        command = ("ping", "-q", "-M", "do", "-c", "3", "-i", "0.2", "-W", "1", "-s", str(size - HEADERS_BYTES))
        done = lab.lab("exec", host, "--", *command, ADDRESSES[name])
        # The first may only bring the news that it was too large.
        if re.search(r" [123] received", done.stdout):
            return size
    return 0


def widened(lab):
    return all(
        len(own := paths(lab, host)[0]) == 2 and all(size == JUMBO_BYTES for _, size in own)
        for host in ("web-1", "db-1")
    )


def test_hosts_go_to_their_own_sites_hubs_by_its_network_and_to_others_from_outside(lab):
    wait_for(lambda: widened(lab))
    for host in ("web-1", "db-1"):
        own, _ = paths(lab, host)
        assert all(address.startswith("172.30.1.") for address, _ in own), own
    own, others = wait_for(lambda: paths(lab, "web-2") if all(paths(lab, "web-2")) else None)
    assert own[0][0].startswith("172.30.2.") and others[0][0].startswith("198.18."), (own, others)
    assert others[0][1] == EVERYWHERE_BYTES


def test_large_packets_cross_a_site_by_one_hub_or_by_two_and_leave_it_as_everybody_can_take_them(lab):
    def wide():
        shown = [lab.lab("exec", f"oregon-{hub}", "--", "ip", "link", "show", "dev", link).stdout
                 for hub, link in (("a", "link3"), ("b", "link1"))]  # fmt: skip
        return all("mtu 8800" in text for text in shown)

    wait_for(wide)
    lab.script("vcubev", "status", lab.stack)
    assert largest(lab, "web-1", "db-1") == JUMBO_BYTES
    # Now the other way round: whichever hub each was at, one of the two pairs of places goes over the link.
    for host in ("web-1", "db-1"):
        lab.lab("exec", host, "--", "systemctl", "reload", "vcubev-paths")
    wait_for(lambda: widened(lab))
    assert largest(lab, "db-1", "web-1") == JUMBO_BYTES
    assert largest(lab, "web-1", "web-2") == EVERYWHERE_BYTES == largest(lab, "web-2", "db-1")
    shown = lab.lab("exec", "oregon-a", "--", "ip", "link", "show", "dev", "link2").stdout
    assert "mtu 1400" in shown, "another site is reached from outside"


def test_where_a_way_begins_to_carry_less_packets_become_smaller_and_none_is_lost(lab):
    wait_for(lambda: widened(lab))
    with pings(lab, WAYS) as lost:
        for machine in ("oregon-a", "oregon-b"):
            assert lab.lab("mtu", machine, "1500").returncode == 0
        wait_for(lambda: {size for host in ("web-1", "db-1") for _, size in paths(lab, host)[0]} == {EVERYWHERE_BYTES})
        assert largest(lab, "web-1", "db-1") == EVERYWHERE_BYTES
        for machine in ("oregon-a", "oregon-b"):
            assert lab.lab("restore", machine).returncode == 0
        wait_for(lambda: widened(lab))
    assert lost == dict.fromkeys(WAYS, 0)
    assert largest(lab, "web-1", "db-1") == JUMBO_BYTES


def test_where_nothing_comes_through_by_the_sites_network_hosts_go_from_outside(lab):
    """The way to the hubs by private addresses is shut on the host; that from outside stays."""
    table = "add table inet shut; add chain inet shut out { type filter hook output priority 0; }"
    rule = "add rule inet shut out oifname eth0 ip daddr 172.30.1.0/24 udp dport 1194 drop"
    with pings(lab, WAYS[:1]):
        assert lab.lab("exec", "web-1", "--", "nft", f"{table}; {rule}").returncode == 0

        def outside():
            own, others = paths(lab, "web-1")
            return len(own) + len(others) == 2 and all(address.startswith("198.18.") for address, _ in own + others)

        wait_for(outside, 300)
        assert largest(lab, "web-1", "db-1") == EVERYWHERE_BYTES
    lab.lab("exec", "web-1", "--", "nft", "delete table inet shut")
    done = lab.script("status", lab.stack, "--json")
    assert json.loads(done.stdout)["well"], told(done)
