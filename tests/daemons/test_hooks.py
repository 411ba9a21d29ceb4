"""The hubs' hooks in a real shell: the address in the certificate is the only one that a host gets."""

import os
import subprocess
import time

import pytest

from components.model import render
from components.model.addressing import member_ipv4, member_ipv6, role_prefix_ipv4, role_prefix_ipv6
from tests.rendering import ROOT, TOPOLOGY

HOOKS = ROOT / "components" / "templates" / "hooks"
OVERLAY = TOPOLOGY.overlay
HUB = TOPOLOGY.hubs[0]
NAMES = "DNS:web-1.paris.vcubev.internal, DNS:web.vcubev.internal, IP Address:10.100.1.1"


@pytest.fixture(scope="module")
def hooks(tmp_path_factory):
    """The hooks with the machine's paths turned to a directory of the test; what they ask for is told, not done."""
    target = tmp_path_factory.mktemp("hooks")
    paths = {"/etc/vcubev": target, "/usr/local/lib/vcubev": target, "/run/": f"{target}/run/"}
    for door in HUB.doors:
        (target / "run" / f"vcubev-hosts-{door.name}").mkdir(parents=True)
    for path, spec in render.hub_files(HUB, OVERLAY, "203.0.113.1").items():
        if path.startswith((render.HOOKS, "/etc/vcubev/overlay.env")):
            content = spec.content
            for old, new in paths.items():
                content = content.replace(old, str(new))
            (target / path.rpartition("/")[2]).write_text(content)
    (target / "run" / "vcubev-routes").mkdir()
    return target


class Listener:
    """What the hooks say to vcubev-routes (tests/daemons/test_routes.py has the real one)."""

    def __init__(self, hooks):
        self._path, self._fifo = hooks / "run" / "vcubev-routes" / "sessions", None

    def come(self):
        self.go()
        os.mkfifo(self._path)
        self._fifo = os.open(self._path, os.O_RDWR | os.O_NONBLOCK)

    def go(self):
        """As systemd leaves it when the service has ended."""
        self._path.unlink(missing_ok=True)
        if self._fifo is not None:
            os.close(self._fifo)
            self._fifo = None

    def heard(self):
        """Return what was said since the last time."""
        try:
            return os.read(self._fifo, 65536).decode()
        except BlockingIOError:
            return ""


@pytest.fixture
def routes(hooks):
    listener = Listener(hooks)
    listener.come()
    yield listener
    listener.go()


def run(
    hooks,
    hook,
    *arguments,
    serial=None,
    common_name="host.web-1",
    dev="hosts-udp",
    certificate="170",
    text=True,
    path="",
):
    environment = {"PATH": f"{path}:/usr/bin:/bin", "common_name": common_name, "dev": dev}
    environment["X509_0_subjectAltName"] = NAMES
    environment["tls_serial_0"] = certificate
    if serial is not None:
        environment["X509_0_serialNumber"] = serial
    command = ["dash", hooks / hook, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=text, timeout=10)


@pytest.fixture
def connect(hooks, routes):
    for leftover in (hooks / "run").glob("*-[!r]*/*"):
        leftover.unlink(missing_ok=True)
    (hooks / "run" / "vcubev-crl").mkdir(exist_ok=True)
    (hooks / "run" / "vcubev-crl" / "refused").touch()

    def call(serial, **options):
        done = run(hooks, "client-connect", str(hooks / "answer"), serial=serial, **options)
        return done, (hooks / "answer").read_text() if done.returncode == 0 else ""

    return call


@pytest.mark.parametrize("role, member", [(1, 1), (1, 254), (2, 9), (9, 10), (16, 16), (100, 100), (255, 254)])
def test_a_host_gets_both_addresses_of_its_plan(connect, routes, role, member):
    ipv4 = member_ipv4(role_prefix_ipv4(OVERLAY.ipv4, role), member)
    ipv6 = member_ipv6(role_prefix_ipv6(OVERLAY.ipv6, role), member)
    done, answer = connect(str(ipv4))
    assert done.returncode == 0, done.stderr
    assert answer == f"ifconfig-push {ipv4} 255.255.0.0\nifconfig-ipv6-push {ipv6}/64 {ipv6}\n"
    assert routes.heard() == f"come {ipv4} hosts-udp\n"


REFUSED = [
    None,
    "",
    "10.100.0.1",  # a hub's
    "10.100.0.9",
    "10.100.1.0",
    "10.100.1.255",
    "10.99.1.1",
    "10.101.1.1",
    "192.0.2.1",
    "10.100.1",
    "10.100.1.1.1",
    "10.100.1.256",
    "10.100.01.1",
    "10.100.1.01",
    "10.100..1",
    ".10.100.1.1",
    "10.100.1.1.",
    "10.100.1.-1",
    "10.100.1.1 ",
    "10.100.1.1;reboot",
    "$(reboot)",
    "10.100.1.1\nifconfig-push 10.100.1.2 255.255.0.0",
    "*",
]


@pytest.mark.parametrize("serial", REFUSED)
def test_a_certificate_with_no_hosts_address_is_refused_and_nothing_is_said(connect, routes, serial):
    done, _ = connect(serial)
    assert done.returncode != 0 and "refused host.web-1" in done.stderr
    assert routes.heard() == "", "a refused host must not have a route"


def test_a_host_does_not_come_in_where_nobody_writes_routes_and_may_try_again(connect, hooks, routes):
    routes.go()
    done, _ = connect("10.100.1.1")
    assert done.returncode != 0 and "nobody is here to write its route" in done.stderr
    assert not (hooks / "run" / "vcubev-routes" / "sessions").exists(), "a plain file in the FIFO's place"
    routes.come()
    assert connect("10.100.1.1", common_name="host.new")[0].returncode == 0, "the refused one still owns the address"


def test_a_second_name_with_the_same_address_is_refused_while_the_first_is_connected(connect, hooks):
    assert connect("10.100.1.1")[0].returncode == 0
    stranger, _ = connect("10.100.1.1", common_name="host.evil")
    assert stranger.returncode != 0 and "belongs to host.web-1" in stranger.stderr
    assert connect("10.100.1.1")[0].returncode == 0, "the owner may come again"
    by_tcp, _ = connect("10.100.1.1", common_name="host.evil", dev="hosts-tcp")
    assert by_tcp.returncode != 0, "not by the hub's other door either"
    assert run(hooks, "client-disconnect", serial="10.100.1.1").returncode == 0
    assert connect("10.100.1.1", common_name="host.evil")[0].returncode == 0


def test_who_was_refused_takes_nothing_away_from_the_owner_when_it_goes(connect, hooks, routes):
    """OpenVPN calls client-disconnect for a session that client-connect has refused, too."""
    connect("10.100.1.1")
    routes.heard()
    for _ in range(2):  # the second try would find nobody connected
        stranger, _ = connect("10.100.1.1", common_name="host.evil")
        assert stranger.returncode != 0
        assert run(hooks, "client-disconnect", serial="10.100.1.1", common_name="host.evil").returncode == 0
    assert routes.heard() == "", "the owner's route must stay"


REFUSALS = [
    ("170\n", True, "its certificate's number"),
    ("5\n170\n99\n", True, "among others"),
    ("host.web-1\n", True, "its name, whatever its certificate"),
    ("17\n1700\n", False, "a part of another number"),
    ("host.web-11\nhost.web\n", False, "a part of another name"),
    ("hostXweb-1\n", False, "no pattern"),
    ("", False, "nobody is on the list"),
]


@pytest.mark.parametrize("refused, is_refused, reason", REFUSALS)
def test_who_is_on_the_list_by_now_is_refused_though_openvpn_let_it_in(
    connect, hooks, routes, refused, is_refused, reason
):
    (hooks / "run" / "vcubev-crl" / "refused").write_text(refused)
    done, _ = connect("10.100.1.1")
    assert (done.returncode != 0) is is_refused, reason
    assert (routes.heard() == "") is is_refused, "no route for who is refused"
    if is_refused:
        assert "refused host.web-1: its certificate is revoked" in done.stderr


def test_a_session_is_known_by_its_certificate_as_long_as_it_is_there(connect, hooks):
    connect("10.100.1.1", certificate="340282366920938463463374607431768211455")
    note = hooks / "run" / "vcubev-hosts-udp" / "10.100.1.1.serial"
    assert note.read_text() == "340282366920938463463374607431768211455 host.web-1\n"
    assert run(hooks, "client-disconnect", serial="10.100.1.1").returncode == 0
    assert not note.exists()


def test_its_names_are_left_for_who_answers_for_them_and_nothing_else_of_it_is(connect, hooks):
    assert connect("10.100.1.1")[0].returncode == 0
    modes = {path.name: path.stat().st_mode & 0o077 for path in (hooks / "run" / "vcubev-hosts-udp").iterdir()}
    assert modes["10.100.1.1.names"] == 0o040, "for the group only"
    assert (hooks / "run" / "vcubev-hosts-udp" / "10.100.1.1.names").read_text() == f"{NAMES}\n"
    assert run(hooks, "client-disconnect", serial="10.100.1.1").returncode == 0
    assert not list((hooks / "run" / "vcubev-hosts-udp").iterdir())


def test_a_host_comes_in_though_its_names_cannot_be_left(connect, hooks):
    in_the_way = hooks / "run" / "vcubev-hosts-udp" / "10.100.1.7.names"
    in_the_way.mkdir()
    try:
        assert connect("10.100.1.7")[0].returncode == 0
    finally:
        in_the_way.rmdir()


def test_a_links_peer_is_known_by_its_own_certificate_not_by_its_authoritys(hooks, tmp_path):
    for depth, serial in (("1", "99"), ("0", "170")):
        assert run(hooks, "link-verified", str(tmp_path), depth, "CN=hub", certificate=serial).returncode == 0
        assert (tmp_path / "serial").exists() is (depth == "0")
    assert (tmp_path / "serial").read_text() == "170\n"


def test_a_host_that_went_has_no_route_any_more(connect, hooks, routes):
    connect("10.100.1.1")
    routes.heard()
    assert run(hooks, "client-disconnect", serial="10.100.1.1").returncode == 0
    assert routes.heard() == "go 10.100.1.1 hosts-udp\n", "by TCP it may be here still"


def test_a_listener_that_hangs_holds_openvpn_up_for_no_moment(connect, routes):
    began = time.monotonic()
    for _ in range(20):  # nobody reads
        assert connect("10.100.1.1")[0].returncode == 0
    assert time.monotonic() - began < 5


def test_hooks_start_no_other_program_but_one(connect, hooks, tmp_path):
    """OpenVPN carries no packet while it waits for one: what it takes to start a program is most of that."""
    for program in ("rm", "grep", "cat", "awk", "printf"):
        (tmp_path / program).write_text(
            f'#!/bin/sh\necho {program} >>{tmp_path}/started\nexec /usr/bin/{program} "$@"\n'
        )
        (tmp_path / program).chmod(0o755)
    connect("10.100.1.1", path=tmp_path)
    assert not (tmp_path / "started").exists()
    run(hooks, "client-disconnect", serial="10.100.1.1", path=tmp_path)
    assert (tmp_path / "started").read_text() == "rm\n"
