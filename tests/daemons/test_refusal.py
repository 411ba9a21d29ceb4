"""Real OpenVPN daemons in a namespace: who is revoked loses a live session at once, and no door lets them in again."""

import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.daemons.entering import NAMES, Mesh, is_in, needs_openvpn, until
from tests.rendering import TOPOLOGY

pytestmark = needs_openvpn
CUT_SECONDS = 2


@pytest.fixture
def mesh() -> Iterator[Mesh]:
    place = Path(tempfile.mkdtemp(prefix="refusal"))  # a socket's path must be short
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, place)
        yield Mesh(place, stack, TOPOLOGY.hubs[0])


@pytest.mark.parametrize("transport", ("udp", "tcp"))
def test_a_live_session_of_who_is_revoked_ends_at_once_and_no_door_lets_it_in_again(mesh, transport):
    logs = {door: mesh.serve(door) for door in mesh.doors}
    for log in logs.values():
        until(lambda log=log: is_in(log), 10)
    for name in NAMES:
        log = mesh.connect(name, transport)
        until(lambda log=log: is_in(log), 10)
    until(lambda: mesh.routes() == set(NAMES.values()), 5)
    began = time.monotonic()
    said = mesh.revoke("web-1")
    until(lambda: mesh.routes() == {NAMES["web-2"]}, CUT_SECONDS)
    seconds = time.monotonic() - began
    assert seconds < CUT_SECONDS
    print(f"{transport}: cut after {seconds:.2f} s, with the signing of the list")
    assert f"vcubev-hosts-{transport}: SUCCESS: common name 'host.web-1' found, 1 client(s) killed" in said
    mesh.daemons[f"web-1-{transport}-1"].send_signal(signal.SIGTERM)
    tries = {door: mesh.connect("web-1", door, 2) for door in mesh.doors}
    for door, log in logs.items():
        until(lambda log=log: "certificate revoked" in log.read_text(), 10)
        assert f"serial={mesh.serials['web-1']}" in log.read_text()
        assert not is_in(tries[door])
    assert mesh.routes() == {NAMES["web-2"]}, "nobody else loses anything"


def test_a_host_with_a_new_certificate_keeps_its_session_when_the_old_one_is_revoked(mesh):
    log = mesh.serve("udp")
    until(lambda: is_in(log), 10)
    old = mesh.serials["web-1"]
    mesh.enroll("web-1", mesh.signers[1])
    new, mesh.serials["web-1"] = mesh.serials["web-1"], old
    client = mesh.connect("web-1", "udp")
    until(lambda: is_in(client), 10)
    assert "killed" not in mesh.revoke("web-1")
    assert mesh.routes() == {NAMES["web-1"]}
    # The second of two lists, which OpenVPN reads anew beside the old one.
    mesh.serials["web-1"] = new
    assert "1 client(s) killed" in mesh.revoke("web-1")
    mesh.daemons["web-1-udp-1"].send_signal(signal.SIGTERM)
    again = mesh.connect("web-1", "udp", 2)
    until(lambda: "certificate revoked" in log.read_text(), 10)
    assert not is_in(again)


def test_a_damaged_list_lets_nobody_back_in_and_locks_nobody_out(mesh):
    mesh.revoke("web-1")
    for damage in ("", "-----BEGIN X509 CRL-----\nMIIB\n"):
        mesh.path("/etc/vcubev/crl/crl.pem").write_text(damage)
        shutil.rmtree(mesh.path("/run/vcubev-crl"))
        assert "is of no use" in mesh.refuse("prepare") and mesh.code == 0
    log = mesh.serve("udp")
    until(lambda: is_in(log), 10)
    good, bad = mesh.connect("web-2", "udp"), mesh.connect("web-1", "udp")
    until(lambda: is_in(good), 10)
    until(lambda: "certificate revoked" in log.read_text(), 10)
    assert not is_in(bad)


def test_a_list_that_goes_while_a_daemon_runs_changes_nothing(mesh):
    log = mesh.serve("udp")
    until(lambda: is_in(log), 10)
    mesh.path("/run/vcubev-crl/crl.pem").unlink()
    client = mesh.connect("web-2", "udp")
    until(lambda: is_in(client), 10)


def test_with_no_list_at_all_nothing_starts_and_it_is_said_aloud(mesh):
    for directory in ("/etc/vcubev/crl", "/run/vcubev-crl", "/var/lib/vcubev/crl"):
        shutil.rmtree(mesh.path(directory))
    (mesh.path("/usr/local/lib/vcubev")).mkdir(exist_ok=True)
    assert "THERE IS NO REVOCATION LIST" in mesh.refuse("prepare") and mesh.code == 1
    log = mesh.serve("udp")
    until(lambda: mesh.daemons["udp"].poll() is not None, 10)
    assert "crl" in log.read_text() and not is_in(log)
