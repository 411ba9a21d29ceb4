"""A hub with two OpenVPN processes for hosts, real ones: each host at one of them, one right route whatever moves."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from components.model import render
from components.model.topology import MOST_PROCESSES
from tests.daemons.entering import NAMES, OVERLAY, Mesh, is_in, needs_openvpn, until
from tests.rendering import TOPOLOGY

pytestmark = needs_openvpn
HUB = replace(TOPOLOGY.hubs[0], processes=2)
WEB_1, WEB_2 = NAMES["web-1"], NAMES["web-2"]


@pytest.fixture
def mesh() -> Iterator[Mesh]:
    place = Path(tempfile.mkdtemp(prefix="doors"))  # a socket's path must be short
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, place)
        made = Mesh(place, stack, HUB)
        made.forward()
        logs = [made.serve(door) for door in ("udp", "udp2")]
        until(lambda: all(map(is_in, logs)), 15)
        for name, door in (("web-1", "udp"), ("web-2", "udp2")):
            made.place_host(name)
            join(made, name, door)
        yield made


def join(mesh: Mesh, name: str, door: str, attempt: int = 1) -> Path:
    log = mesh.connect(name, door, attempt)
    until(lambda: is_in(log), 15)
    mesh.use(name, door, attempt)
    return log


def reaches(mesh: Mesh) -> bool:
    return mesh.run("ping", "-q", "-c", "1", "-W", "1", WEB_2, host="web-1").returncode == 0


def test_hosts_at_two_processes_reach_each_other_and_each_has_one_route(mesh):
    assert mesh.places() == [(WEB_1, "hosts-udp"), (WEB_2, "hosts-udp2")]
    until(lambda: reaches(mesh), 5)


@pytest.mark.parametrize("first, second", [("udp", "udp2"), ("udp2", "udp")])
def test_a_session_that_moves_to_the_other_process_keeps_one_right_route(mesh, first, second):
    if first != "udp":
        mesh.daemons["web-1-udp-1"].terminate()
        mesh.daemons["web-1-udp-1"].wait()
        join(mesh, "web-1", first, 2)
    before = mesh.daemons[f"web-1-{first}-{1 if first == 'udp' else 2}"]
    # The one before goes with no word, as after a NAT's restart: the hub believes in it for seconds more.
    before.send_signal(signal.SIGKILL)
    join(mesh, "web-1", second, 3)
    until(lambda: mesh.places()[0] == (WEB_1, f"hosts-{second}"), 2)
    until(lambda: reaches(mesh), 5)
    gone = mesh.path(f"/run/vcubev-hosts-{first}/{WEB_1}")
    until(lambda: not gone.exists(), 20)
    assert mesh.places() == [(WEB_1, f"hosts-{second}"), (WEB_2, "hosts-udp2")], "the old session took it along"
    assert reaches(mesh)


def test_a_process_that_is_killed_takes_nobody_elses_hosts_along(mesh):
    until(lambda: reaches(mesh), 5)
    sessions = mesh.path("/web-2-udp2-1.log").read_text()
    mesh.daemons["udp"].send_signal(signal.SIGKILL)
    mesh.daemons["udp"].wait()
    # As systemd does (ExecStopPost).
    flushed = mesh.run(mesh.path("/usr/local/lib/vcubev/flush-hosts"), "hosts-udp")
    assert flushed.returncode == 0, flushed.stderr
    assert mesh.places() == [(WEB_2, "hosts-udp2")]
    time.sleep(2)
    assert mesh.path("/web-2-udp2-1.log").read_text() == sessions, "its session was disturbed"
    join(mesh, "web-1", "udp2", 2)
    assert mesh.places() == [(WEB_1, "hosts-udp2"), (WEB_2, "hosts-udp2")]
    until(lambda: reaches(mesh), 5)


def test_a_host_that_is_revoked_loses_its_session_at_whichever_process_it_is(mesh):
    said = mesh.revoke("web-2")
    assert "vcubev-hosts-udp2: SUCCESS: common name 'host.web-2' found, 1 client(s) killed" in said
    until(lambda: mesh.places() == [(WEB_1, "hosts-udp")], 2)


def test_what_a_process_leaves_with_nobody_to_write_routes_is_put_right_by_device(mesh):
    mesh.daemons["routes"].terminate()
    mesh.daemons["routes"].wait()
    # Both went meanwhile, by other processes.
    for device, host in (("hosts-udp", WEB_1), ("hosts-udp2", WEB_2)):
        mesh.path(f"/run/vcubev-{device}/{host}").unlink(missing_ok=device == "hosts-udp")
    mesh.path(f"/run/vcubev-hosts-udp/{WEB_1}").touch()
    mesh.path("/run/vcubev-routes/sessions").unlink()
    mesh.start("routes", "python3", mesh.path("/usr/local/lib/vcubev/routes.py"))
    until(lambda: mesh.places() == [(WEB_1, "hosts-udp")], 5)


def test_a_door_that_has_left_the_stack_file_leaves_no_device(mesh):
    mesh.daemons["udp2"].terminate()
    mesh.daemons["udp2"].wait()
    mesh.path("/etc/vcubev/hosts-udp2.conf").unlink()
    assert mesh.run(mesh.path("/usr/local/lib/vcubev/flush-hosts"), "hosts-udp2").returncode == 0
    shown = mesh.run("ip", "-o", "link", "show").stdout
    assert "hosts-udp2" not in shown and "hosts-udp:" in shown


def test_openvpn_would_not_start_where_a_hub_takes_its_hosts_claims():
    """Why the ports are not just the next ones."""
    script = (
        "ip link set lo up; ip address add 10.100.0.1/32 dev lo\n"
        "python3 -c 'import socket, time; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM);"
        ' s.bind(("10.100.0.1", 1195)); time.sleep(3)\' & sleep 1\n'
        "timeout 1 openvpn --dev null --proto udp4 --port 1195 --verb 1\n"
    )
    run = ["unshare", "--user", "--map-root-user", "--net", "sh", "-c", script]
    said = subprocess.run(run, capture_output=True, text=True, timeout=20).stdout
    assert "Address already in use" in said, said


@pytest.mark.skipif(shutil.which("nft", path=f"{os.environ['PATH']}:/usr/sbin") is None, reason="no nftables")
def test_the_packet_filter_with_all_processes_is_one_that_the_kernel_takes(tmp_path):
    hub = replace(HUB, processes=MOST_PROCESSES)
    file = tmp_path / "nftables.conf"
    file.write_text(render.hub_files(hub, OVERLAY, "203.0.113.1")["/etc/nftables.conf"].content)
    script = f"PATH=$PATH:/usr/sbin; nft -f {file} && nft list table inet vcubev"
    run = ["unshare", "--user", "--map-root-user", "--net", "sh", "-c", script]
    done = subprocess.run(run, capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    assert "udp dport { 1194, 1197-1203, 20000-20255 } accept" in done.stdout, "nft joins neighbours"
