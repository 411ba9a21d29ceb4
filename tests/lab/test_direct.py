"""Tunnels between hosts with no hub between, on real machines: they come by themselves, and nothing depends on them."""

import json
import subprocess
import time

import pytest

from components.model.policy import METRICS_PORT
from scripts.cli.exposure import PROBE, parse
from tests.lab.operating import told
from tests.lab.pinging import settle
from tests.lab.streaming import PORT, script, start, stream
from tests.lab.worktree import WorkTree

# What is lost depends on how busy the computer is.
pytestmark = [pytest.mark.lab, pytest.mark.alone]
WEB_1, WEB_2, DB_1, DB_3 = "10.100.1.1", "10.100.1.2", "10.100.2.1", "10.100.2.3"
OPEN_SECONDS = 25  # a stream's first five seconds, then the tunnel's
AGAIN_SECONDS = 60
LEAST_LOST_SECONDS = 1.0
REVOKED_SECONDS = 12
UDP_PORT, CLOSED_PORT = 5203, 5999
MOST_EXPOSED = 2.0  # systemd's figure
GET = f"""
import urllib.request
print(urllib.request.urlopen(f"http://{{ADDRESS}}:{METRICS_PORT}/metrics", timeout=5).read().decode())
"""
# Below the sending machine's own packet filter, as somebody who has taken it over would.
JUMBO_BYTES = 8800
FORGE = """
import socket, struct
def checksum(text):
    total = sum(struct.unpack(f"!{len(text) // 2}H", text))
    return ~((total >> 16) + (total & 65535)) & 65535
body = struct.pack("!HHHH", PORT, PORT, 8 + len(TEXT), 0) + TEXT.encode()
parts = [0x45, 0, 20 + len(body), 0, 0, 64, 17, 0, socket.inet_aton(SOURCE), socket.inet_aton(TARGET)]
parts[7] = checksum(struct.pack("!BBHHHBBH4s4s", *parts))
raw = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM)
for _ in range(5):
    raw.sendto(struct.pack("!BBHHHBBH4s4s", *parts) + body, ("direct1", 0x0800))
"""
LISTEN = """
import socket
listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
listener.bind(("", PORT))
listener.settimeout(4)
heard = set()
try:
    while True:
        text, source = listener.recvfrom(2048)
        heard.add((text.decode(), source[0]))
except TimeoutError:
    print(sorted(heard))
"""
STAND_OPEN = """
import socket, time
listener = socket.create_server(("", PORT))
time.sleep(8)
"""
DIAL = """
import socket
try:
    socket.create_connection((ADDRESS, PORT), 3)
    print("open")
except OSError:
    print("closed")
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    tree = WorkTree(tmp_path_factory.mktemp("direct"), "direct")

    def change(config):
        config["vcubev:direct"] = True
        ports = [f"{PORT}/tcp", f"{UDP_PORT}/udp"]
        config["vcubev:metrics"] = {"from": ["web"]}
        config["vcubev:sites"]["oregon"]["hosts"]["db-3"] = {"role": "db", "id": 3, "private": True}
        copies = {"on": "db", "ports": [f"{PORT}/tcp"], "from": ["db"]}
        config["vcubev:services"] = {"copies": copies, "stream": {"on": "web", "ports": ports, "from": ["web", "db"]}}

    tree.edit(change)
    with tree.standing():
        settle(tree)
        yield tree


def tunnels(lab, host):
    """Return peer -> what the host's agent tells of its tunnel to it."""
    shown = lab.lab("exec", host, "--", "cat", "/run/vcubev-direct/state.json").stdout
    return {tunnel["peer"]: tunnel for tunnel in json.loads(shown or '{"tunnels": {}}')["tunnels"].values()}


def in_use(lab, host, peer):
    return tunnels(lab, host).get(peer, {}).get("in_use", False)


def wait_for(what, seconds):
    """Return how long it took."""
    begin = time.monotonic()
    while not what():
        assert time.monotonic() - begin < seconds, "it did not happen"
        time.sleep(0.2)
    return time.monotonic() - begin


def way(lab, host, address):
    """Return by which device a host sends to an address."""
    return lab.lab("exec", host, "--", "ip", "route", "get", address).stdout.split(" dev ")[1].split()[0]


@pytest.fixture
def direct(lab):
    """Have a tunnel between the two public hosts."""
    settle(lab)
    if not (in_use(lab, "web-1", WEB_2) and in_use(lab, "web-2", WEB_1)):
        with stream(lab, "web-1", "web-2", WEB_2, AGAIN_SECONDS):
            wait_for(lambda: in_use(lab, "web-1", WEB_2) and in_use(lab, "web-2", WEB_1), AGAIN_SECONDS)
    return lab


def test_a_stream_brings_a_tunnel_of_its_own_and_goes_by_it(lab):
    assert way(lab, "web-1", WEB_2).startswith("path")
    with stream(lab, "web-1", "web-2", WEB_2, 20) as found:
        wait_for(lambda: in_use(lab, "web-1", WEB_2) and in_use(lab, "web-2", WEB_1), OPEN_SECONDS)
        assert (way(lab, "web-1", WEB_2), way(lab, "web-2", WEB_1)) == ("direct1", "direct1")
        assert way(lab, "web-1", "fd5c:ab1e:0:1::2") == "direct1"
        assert way(lab, "web-1", DB_1).startswith("path"), "to others it goes by hubs"
        before = int(lab.lab("exec", "web-2", "--", "cat", "/sys/class/net/direct1/statistics/rx_bytes").stdout)
        time.sleep(3)
        after = int(lab.lab("exec", "web-2", "--", "cat", "/sys/class/net/direct1/statistics/rx_bytes").stdout)
    assert after - before > 5_000_000
    assert found.gap_seconds < LEAST_LOST_SECONDS, found


def test_what_policy_forbids_is_forbidden_by_the_direct_way(direct):
    open_there = start(direct, "web-2", *script(STAND_OPEN, PORT=CLOSED_PORT))
    time.sleep(1)
    asked = {"ADDRESS": WEB_2, "PORT": CLOSED_PORT}
    assert way(direct, "web-1", WEB_2) == "direct1"
    assert direct.lab("exec", "web-1", "--", *script(DIAL, **asked)).stdout == "closed\n"
    itself = direct.lab("exec", "web-2", "--", *script(DIAL, **asked)).stdout
    open_there.kill()
    assert itself == "open\n", "there was something to forbid"


def test_a_member_that_forges_its_source_is_not_heard_by_the_direct_way(direct):
    listener = start(direct, "web-2", *script(LISTEN, PORT=UDP_PORT))
    time.sleep(1)
    for text, source in (("true", WEB_1), ("forged", DB_1), ("forged", "10.100.0.1"), ("forged", "192.0.2.7")):
        values = {"TEXT": text, "SOURCE": source, "TARGET": WEB_2, "PORT": UDP_PORT}
        done = direct.lab("exec", "web-1", "--", *script(FORGE, **values))
        assert done.returncode == 0, told(done)
    assert listener.communicate(timeout=15)[0].strip() == str([("true", WEB_1)])
    shown = direct.lab("exec", "web-2", "--", "nft", "list", "chain", "inet", "vcubev", "input").stdout
    (dropped,) = [line for line in shown.splitlines() if "not the peer's" in line]
    assert int(dropped.split("packets ")[1].split()[0]) >= 15, dropped


def test_a_tunnel_that_dies_costs_less_than_a_second_and_comes_back(direct):
    with stream(direct, "web-1", "web-2", WEB_2, 45) as found:
        time.sleep(2)
        direct.lab("exec", "web-2", "--", "systemctl", "kill", "-s", "KILL", "vcubev-direct@1")
        wait_for(lambda: way(direct, "web-1", WEB_2).startswith("path"), 5)
        wait_for(lambda: in_use(direct, "web-1", WEB_2) and in_use(direct, "web-2", WEB_1), AGAIN_SECONDS)
    assert found.gap_seconds < LEAST_LOST_SECONDS, found
    print("killed:", found)


def test_a_way_that_is_blocked_costs_less_than_a_second(direct):
    with stream(direct, "web-1", "web-2", WEB_2, 15) as found:
        time.sleep(2)
        try:
            done = direct.lab("cut", "web-1", "--from", "web-2")
            assert done.returncode == 0, told(done)
            wait_for(lambda: way(direct, "web-1", WEB_2).startswith("path"), 5)
            time.sleep(8)
        finally:
            direct.lab("restore", "web-1")
    assert found.gap_seconds < LEAST_LOST_SECONDS, found
    print("blocked:", found)


def test_the_end_of_the_agent_ends_its_tunnels_and_nothing_else(direct):
    with stream(direct, "web-1", "web-2", WEB_2, 8) as found:
        time.sleep(2)
        direct.lab("exec", "web-1", "--", "systemctl", "kill", "-s", "KILL", "--kill-who=main", "vcubev-direct.service")
        wait_for(lambda: way(direct, "web-1", WEB_2).startswith("path"), 5)
        wait_for(lambda: WEB_1 not in tunnels(direct, "web-2"), 10)
    assert found.gap_seconds < LEAST_LOST_SECONDS, found
    print("agent killed:", found)


@pytest.mark.parametrize("server, address", [("web-2", WEB_2), ("web-1", WEB_1)])
def test_a_private_host_has_tunnels_to_public_ones(lab, server, address):
    with stream(lab, "db-1", server, address, 20):
        wait_for(lambda: in_use(lab, "db-1", address) and in_use(lab, server, DB_1), OPEN_SECONDS)
    assert not tunnels(lab, "db-1")[address]["listens"], "nobody could dial it"


def test_two_private_hosts_of_a_site_have_one_between_their_private_addresses(lab):
    with stream(lab, "db-1", "db-3", DB_3, 20):
        wait_for(lambda: in_use(lab, "db-1", DB_3) and in_use(lab, "db-3", DB_1), OPEN_SECONDS)
        ends = (("db-1", DB_3), ("db-3", DB_1))
        wait_for(lambda: all(tunnels(lab, host)[peer]["mtu_bytes"] == JUMBO_BYTES for host, peer in ends), 15)
        large = ("ping", "-q", "-M", "do", "-c", "3", "-i", "0.2", "-s", str(JUMBO_BYTES - 28), DB_3)
        assert " 0% packet loss" in lab.lab("exec", "db-1", "--", *large).stdout, "the site's network carries them"
        assert way(lab, "db-1", DB_3).startswith("direct")
    told_by = lab.lab("exec", "db-1", "--", "journalctl", "-q", "-o", "cat", "-u", "vcubev-direct").stdout
    assert f"to {DB_3}: dials 172.30.1." in told_by


def test_a_packet_filter_that_is_loaded_anew_costs_nothing(direct):
    with stream(direct, "web-1", "web-2", WEB_2, 8) as found:
        for host in ("web-1", "web-2"):
            time.sleep(2)
            direct.lab("exec", host, "--", "systemctl", "reload", "nftables")
            assert way(direct, "web-1", WEB_2).startswith("direct")
    assert found.gap_seconds < 0.3, found


def test_what_the_agents_tell_is_on_one_page(direct):
    for _ in range(2):
        page = direct.lab("exec", "web-1", "--", *script(GET, ADDRESS=WEB_2)).stdout
        if "vcubev_direct_in_use{" in page:
            break
        time.sleep(10)  # the page is written every five seconds, and asked for again
    assert f'vcubev_direct_in_use{{peer="{WEB_1}"}} 1' in page and "vcubev_path_up{" in page
    assert "node_textfile_scrape_error 0" in page


def test_no_daemon_of_it_may_more_than_it_must(direct):
    found = parse(direct.lab("exec", "web-2", "--", "sh", "-c", PROBE).stdout)
    exposures = {unit: own for unit, own in found.items() if unit.startswith("vcubev-direct")}
    print("exposure:", {unit: own.exposure for unit, own in exposures.items()})
    tunnel = next(unit for unit in exposures if "@" in unit)
    assert (exposures["vcubev-direct"].user, exposures["vcubev-direct"].rights) == ("vcubev-direct", ("net_admin",))
    assert (exposures[tunnel].user, exposures[tunnel].rights) == ("vcubev-tunnel", ())
    assert all(own.exposure <= MOST_EXPOSED for own in exposures.values())
    keys = direct.lab("exec", "web-2", "--", "stat", "-c", "%a %U", "/run/vcubev-direct/1.key").stdout
    assert keys == "600 vcubev-direct\n"


def test_another_up_changes_nothing_and_a_host_more_changes_nobody(lab):
    assert lab.preview() == {}
    before = lab.file.read_text()
    lab.edit(lambda config: config["vcubev:sites"]["paris"]["hosts"].update(new={"role": "web", "id": 9}))
    assert set(lab.preview()) == {"create"}
    lab.file.write_text(before)


def test_a_machine_with_direct_tunnels_has_not_drifted(direct):
    done = direct.script("vcubev", "drift", direct.stack)
    assert done.returncode == 0, told(done)


def test_a_revoked_host_loses_its_tunnels_in_seconds(direct):
    with stream(direct, "web-2", "web-1", WEB_1, 12):  # whichever way the talk goes
        assert in_use(direct, "web-2", WEB_1)
    device = way(direct, "web-2", WEB_1)  # by others it may have one to a private host
    assert device.startswith("direct")
    direct.edit(lambda config: config.update({"vcubev:revoked": ["web-1"]}))
    up = subprocess.Popen(
        ["./scripts/up", direct.stack], cwd=direct.tree, env=direct.environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    # Its sessions at both hubs have to go first.
    has = ("--", "test", "-e", "/run/vcubev-hosts-udp/10.100.1.1")
    hubs = ("oregon-a", "paris-a")
    wait_for(lambda: all(direct.lab("exec", hub, *has).returncode for hub in hubs), 120)
    took = wait_for(lambda: WEB_1 not in tunnels(direct, "web-2"), REVOKED_SECONDS)
    print("revoked:", took)
    assert way(direct, "web-2", WEB_1).startswith("path")
    # Its OpenVPN takes a second for its farewell.
    wait_for(lambda: direct.lab("exec", "web-2", "--", "test", "-e", f"/sys/class/net/{device}").returncode, 4)
    up.communicate(timeout=300)
    # And nobody arranges another.
    time.sleep(15)
    assert WEB_1 not in tunnels(direct, "web-2")
