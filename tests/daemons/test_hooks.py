"""The hubs' hooks in a real shell: the address in the certificate is the only one that a host gets."""

import subprocess

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
    # tests/daemons/test_routes.py has the real one.
    (target / "ask-routes").write_text(f'#!/bin/sh\necho "$@" >>{target}/routes.log\n[ ! -e {target}/nobody ]\n')
    (target / "birdc").write_text(f"#!/bin/sh\ncat {target}/birdc.out 2>/dev/null\n")
    for program in ("ask-routes", "birdc"):
        (target / program).chmod(0o755)
    return target


def run(hooks, hook, *arguments, serial=None, common_name="host.web-1", dev="hosts-udp", certificate="170", text=True):
    environment = {"PATH": f"{hooks}:/usr/bin:/bin", "common_name": common_name, "dev": dev}
    environment["X509_0_subjectAltName"] = NAMES
    environment["tls_serial_0"] = certificate
    if serial is not None:
        environment["X509_0_serialNumber"] = serial
    command = ["dash", hooks / hook, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=text, timeout=10)


@pytest.fixture
def connect(hooks):
    for leftover in [*(hooks / "run").glob("*/*"), hooks / "routes.log", hooks / "birdc.out", hooks / "nobody"]:
        leftover.unlink(missing_ok=True)
    (hooks / "run" / "vcubev-crl").mkdir(exist_ok=True)
    (hooks / "run" / "vcubev-crl" / "refused").touch()

    def call(serial, **options):
        done = run(hooks, "client-connect", str(hooks / "answer"), serial=serial, **options)
        return done, (hooks / "answer").read_text() if done.returncode == 0 else ""

    return call


@pytest.mark.parametrize("role, member", [(1, 1), (1, 254), (2, 9), (9, 10), (16, 16), (100, 100), (255, 254)])
def test_a_host_gets_both_addresses_of_its_plan(connect, hooks, role, member):
    ipv4 = member_ipv4(role_prefix_ipv4(OVERLAY.ipv4, role), member)
    ipv6 = member_ipv6(role_prefix_ipv6(OVERLAY.ipv6, role), member)
    done, answer = connect(str(ipv4))
    assert done.returncode == 0, done.stderr
    assert answer == f"ifconfig-push {ipv4} 255.255.0.0\nifconfig-ipv6-push {ipv6}/64 {ipv6}\n"
    assert (hooks / "routes.log").read_text() == f"add {ipv4} hosts-udp 2\n"


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
def test_a_certificate_with_no_hosts_address_is_refused_and_nothing_is_written(connect, hooks, serial):
    done, _ = connect(serial)
    assert done.returncode != 0 and "refused host.web-1" in done.stderr
    assert not (hooks / "routes.log").exists(), "a refused host must not have a route"


def test_a_host_does_not_come_in_without_its_route_and_may_try_again(connect, hooks):
    (hooks / "nobody").touch()
    done, _ = connect("10.100.1.1")
    assert done.returncode != 0 and "its route could not be written" in done.stderr
    (hooks / "nobody").unlink()
    assert connect("10.100.1.1", common_name="host.new")[0].returncode == 0, "the refused one still owns the address"


def told(own=None, others=()):
    """What BIRD says of a host: its number here, and at other hubs."""
    places = [("hosts_kernel4 06:18:43.199", own)] if own else []
    places += [(f"link{n} 06:18:43.199", number) for n, number in enumerate(others, 2)]
    lines = [f"10.100.1.1/32 unicast [{place}] (1006)\n\tBGP.local_pref: {100 + number}" for place, number in places]
    return "\n".join(["BIRD 2.0.12 ready.", "Table master4:", *lines, ""])


NUMBERS = [
    ((None, ()), 2, "the first place has room for a spare below it"),
    ((None, (2,)), 1, "a spare is below the place that has the traffic"),
    ((None, (4, 7)), 6, "a spare is above every place of before"),
    ((None, (1,)), 1, "no number is below 1"),
    ((5, (4,)), 5, "who comes again keeps its place"),
    ((3, (8,)), 3, "also as a spare"),
]


@pytest.mark.parametrize("known, number, reason", NUMBERS)
def test_a_host_that_comes_is_a_spare_until_it_claims_its_traffic(connect, hooks, known, number, reason):
    (hooks / "birdc.out").write_text(told(*known))
    connect("10.100.1.1")
    assert (hooks / "routes.log").read_text() == f"add 10.100.1.1 hosts-udp {number}\n", reason


def test_a_second_name_with_the_same_address_is_refused_while_the_first_is_connected(connect, hooks):
    assert connect("10.100.1.1")[0].returncode == 0
    stranger, _ = connect("10.100.1.1", common_name="host.evil")
    assert stranger.returncode != 0 and "belongs to host.web-1" in stranger.stderr
    assert connect("10.100.1.1")[0].returncode == 0, "the owner may come again"
    by_tcp, _ = connect("10.100.1.1", common_name="host.evil", dev="hosts-tcp")
    assert by_tcp.returncode != 0, "not by the hub's other door either"
    assert run(hooks, "client-disconnect", serial="10.100.1.1").returncode == 0
    assert connect("10.100.1.1", common_name="host.evil")[0].returncode == 0


def test_who_was_refused_takes_nothing_away_from_the_owner_when_it_goes(connect, hooks):
    """OpenVPN calls client-disconnect for a session that client-connect has refused, too."""
    connect("10.100.1.1")
    (hooks / "routes.log").unlink()
    for _ in range(2):  # the second try would find nobody connected
        stranger, _ = connect("10.100.1.1", common_name="host.evil")
        assert stranger.returncode != 0
        assert run(hooks, "client-disconnect", serial="10.100.1.1", common_name="host.evil").returncode == 0
    assert not (hooks / "routes.log").exists(), "the owner's route must stay"


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
def test_who_is_on_the_list_by_now_is_refused_though_openvpn_let_it_in(connect, hooks, refused, is_refused, reason):
    (hooks / "run" / "vcubev-crl" / "refused").write_text(refused)
    done, _ = connect("10.100.1.1")
    assert (done.returncode != 0) is is_refused, reason
    assert (hooks / "routes.log").exists() is not is_refused, "no route for who is refused"
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


def test_a_host_that_went_has_no_route_any_more(connect, hooks):
    connect("10.100.1.1")
    (hooks / "routes.log").unlink()
    assert run(hooks, "client-disconnect", serial="10.100.1.1").returncode == 0
    assert (hooks / "routes.log").read_text() == "del 10.100.1.1 hosts-udp\n", "by TCP it may be here still"


@pytest.mark.parametrize("action", ["add", "update"])
def test_a_session_may_use_its_own_addresses_and_no_other(hooks, action):
    for own in ("10.100.1.1", "fd5c:ab1e:0:1::1"):
        assert run(hooks, "learn-address", action, own, "host.web-1", serial="10.100.1.1").returncode == 0
    for other in ("10.100.1.2", "10.100.0.1", "10.100.1.0/24", "fd5c:ab1e:0:1::2", "fe80::1", "0.0.0.0"):
        assert run(hooks, "learn-address", action, other, "host.web-1", serial="10.100.1.1").returncode != 0


def test_forgetting_an_address_needs_no_certificate(hooks):
    assert run(hooks, "learn-address", "delete", "10.100.1.1").returncode == 0
