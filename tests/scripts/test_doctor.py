"""What `vcubev doctor` makes of what machines tell; the lab produces the troubles on real ones."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.cli.doctor.asking import judged
from scripts.cli.doctor.stack import half_installed
from tests.scripts.healthy import DAY, HOSTS, HUBS, NOW, PEM, TOPOLOGY, certificate, crl, found, route, seen, well


def test_where_nothing_is_wrong_nothing_is_found():
    assert judged(seen()) == [] == list(half_installed(seen(), {name: set(well(name)["bundles"]) for name in HUBS}))


def narrow(facts, machine, size=1280):
    """Narrow one machine's access: both ways, as those it speaks to see it."""
    for path in facts[machine]["paths"].values():
        path["mtu_bytes"] = size
    for name, told in facts.items():
        if name != machine and machine in told["paths"]:
            told["paths"][machine]["mtu_bytes"] = size


def block(facts, one, other):
    for name, peer in ((one, other), (other, one)):
        facts[name]["sessions"][str(next(hub.id for hub in TOPOLOGY.hubs if hub.key == peer))] = ["start", "Connect"]


def tcp(facts, host):
    facts[host]["agent"]["paths"]["1"]["transport"] = "tcp"
    facts[host]["by_tcp_since"] = 1795000000.5


def dead(facts, host):
    for path in facts[host]["agent"]["paths"].values():
        path["alive"] = False


TROUBLES = [
    ("a host's access is narrow", lambda f: narrow(f, "web-1"), [("mtu", "web-1")]),
    ("a hub's access is narrow", lambda f: narrow(f, "paris/a"), [("mtu", "paris/a")]),
    ("UDP is blocked for a host", lambda f: tcp(f, "web-1"), [("udp", "web-1")]),
    ("UDP is blocked between hubs", lambda f: block(f, "oregon/a", "tokyo/a"), [("udp", "oregon/a")]),
    ("no tunnel is alive", lambda f: dead(f, "db-1"), [("tunnel", "db-1")]),
    ("a host's agent says nothing", lambda f: f["db-1"].update(agent=None), [("tunnel", "db-1")]),
    (
        "a strange route into the overlay",
        lambda f: f["web-1"]["routes"].append(route("10.101.2.1", "eth0", gateway="172.30.1.1")),
        [("route", "web-1")],
    ),
    (
        "a strange IPv6 route",
        lambda f: f["web-1"]["routes"].append(route("fd5c:ab1f:0:2::/64", "wg0")),
        [("route", "web-1")],
    ),
    (
        "no route to the overlay",
        lambda f: f["web-1"].update(routes=[r for r in f["web-1"]["routes"] if not r["dev"].startswith("path")]),
        [("route", "web-1")],
    ),
    ("a hub that knows no way to a host", lambda f: f["tokyo/a"]["routes"].pop(2), [("route", "tokyo/a")]),
    ("no default route", lambda f: f["web-1"]["routes"].pop(0), [("route", "web-1")]),
    ("a full disk", lambda f: f["db-1"]["disks"][0].update(free_bytes=1 << 20), [("disk", "db-1")]),
    ("no more files", lambda f: f["db-1"]["disks"][0].update(free_inodes=1), [("disk", "db-1")]),
    ("a disk turned read-only", lambda f: f["db-1"]["disks"][0].update(read_only=True), [("disk", "db-1")]),
    (
        "a certificate that has ended",
        lambda f: f["web-1"]["pem"].update(certificate=certificate(NOW - 99 * DAY, NOW - DAY)),
        [("certificate", "web-1")],
    ),
    (
        "a certificate that ends soon",
        lambda f: f["web-1"]["pem"].update(certificate=certificate(NOW - 99 * DAY, NOW + 9 * DAY)),
        [("certificate", "web-1")],
    ),
    (
        "a certificate of tomorrow",
        lambda f: f["web-1"]["pem"].update(certificate=certificate(NOW + DAY, NOW + 99 * DAY)),
        [("certificate", "web-1")],
    ),
    (
        "a second authority that ends",
        lambda f: f["web-1"]["pem"].update(authority=PEM["authority"] + certificate(NOW - 99 * DAY, NOW + DAY)),
        [("certificate", "web-1")],
    ),
    (
        "a revocation list that has ended",
        lambda f: f["paris/a"]["pem"].update({"revocation list": crl(NOW - DAY)}),
        [("certificate", "paris/a")],
    ),
    (
        "a local network within the overlay",
        lambda f: (
            f["web-1"]["addresses"].append({"dev": "br0", "address": "10.101.77.1/24"}),
            f["web-1"]["routes"].append(route("10.101.77.0/24", "br0", protocol="kernel")),
        ),
        [("overlap", "web-1")],
    ),
    (
        "a local network around the overlay",
        lambda f: f["web-1"]["addresses"].append({"dev": "eth1", "address": "10.9.9.9/8"}),
        [("overlap", "web-1")],
    ),
    (
        "a silent name server",
        lambda f: f["web-1"].update(resolvers={"192.0.2.9": "does not answer"}),
        [("dns", "web-1")],
    ),
    ("no name server", lambda f: f["web-1"].update(resolvers={}), [("dns", "web-1")]),
    (
        "a hub with another BIRD",
        lambda f: f["paris/a"]["versions"].update(bird2="2.17"),
        [("version", "paris/a")],
    ),
    ("a hub with another program", lambda f: f["paris/a"]["code"].update({"hub.py": "zz"}), [("version", "paris/a")]),
    ("a host with other versions than hubs", lambda f: f["web-1"]["versions"].update(openvpn="2.7"), []),
]


@pytest.mark.parametrize(("change", "expected"), [case[1:] for case in TROUBLES], ids=[case[0] for case in TROUBLES])
def test_each_trouble_is_named_once_and_nothing_else_is(change, expected):
    assert found(change) == expected


def test_of_a_wrong_clock_the_machine_is_named_or_this_computer():
    ahead = dict.fromkeys((*HUBS, *HOSTS), 0.3)
    assert found(ahead_seconds=ahead | {"web-1": 3600}) == [("clock", "web-1")]
    assert found(ahead_seconds=ahead | {"web-1": -40, "tokyo/a": 31}) == [("clock", "tokyo/a"), ("clock", "web-1")]
    assert found(ahead_seconds=dict.fromkeys(ahead, -7200)) == [("clock", "this computer")]
    both = dict.fromkeys(ahead, -7200) | {"web-1": 0}
    assert found(ahead_seconds=both) == [("clock", "this computer"), ("clock", "web-1")]
    assert found(ahead_seconds=ahead | {"web-1": 20}) == [], "SSH itself may take some seconds"


@given(st.dictionaries(st.sampled_from([*HUBS, *HOSTS]), st.floats(-29, 29)))
def test_clocks_that_differ_by_less_than_they_may_are_right(ahead):
    assert found(ahead_seconds=ahead) == []


def test_a_link_with_no_path_beneath_is_no_blocked_udp():
    def cut(facts):
        block(facts, "oregon/a", "tokyo/a")
        for one, other in (("oregon/a", "tokyo/a"), ("tokyo/a", "oregon/a")):
            facts[one]["paths"][other] = {"answers": False, "mtu_bytes": None}

    assert found(cut) == [("link", "oregon/a")]


def test_a_hub_whose_links_are_all_down_is_not_asked_for_routes_that_come_by_them():
    def alone(facts):
        for other in ("oregon/a", "oregon/b", "paris/a"):
            block(facts, "tokyo/a", other)
        facts["tokyo/a"]["routes"] = [one for one in facts["tokyo/a"]["routes"] if one["dev"] != "link1"]

    assert found(alone) == [("udp", "oregon/a"), ("udp", "oregon/b"), ("udp", "paris/a")]


def test_a_machine_that_told_nothing_makes_no_other_a_suspect():
    for name in ("tokyo/a", "web-1"):
        assert found(lambda facts, name=name: facts.pop(name)) == []


def test_where_a_cloud_has_no_name_server_one_that_is_not_there_is_no_trouble_and_a_silent_one_is():
    def lab(servers):
        return found(lambda f: f["web-1"].update(resolvers=servers), resolvers={"web-1": False})

    assert lab({}) == []
    # The host's own, of the overlay's names, refuses what is not the overlay's.
    for what in ("is not there: nothing listens", "refuses to answer (REFUSED)"):
        assert lab({"127.1.0.53": what}) == []
    assert lab({"127.0.0.1": "does not answer"}) == [("dns", "web-1")]


def test_two_hubs_that_differ_are_both_named():
    facts = {name: well(name) for name in ("oregon/a", "paris/a")}
    facts["paris/a"]["versions"]["openvpn"] = "2.7"
    named = [(one.kind, one.where) for one in judged(replace(seen(), facts=facts))]
    assert named == [("version", "oregon/a"), ("version", "paris/a")], "nobody can say which of two is the odd one"


def test_every_trouble_says_what_why_and_a_cure():
    for name, change, expected in TROUBLES:
        for one in judged(seen(change)):
            assert one.seen and one.why and one.cures, name
            assert len(expected) == 1 and any("vcubev" in cure for cure in one.cures), (name, one.cures)


def test_a_hub_whose_openvpn_does_not_start_is_told_though_its_agent_finds_it_fit():
    def change(facts):
        facts["paris/a"]["doors"] = {"vcubev-hosts@tcp": "running", "vcubev-hosts@udp": "auto-restart"}

    (trouble,) = judged(seen(change))
    assert (trouble.kind, trouble.where) == ("daemon", "paris/a")
    assert "vcubev-hosts@udp does not run: auto-restart" in trouble.seen
    assert "journalctl -u vcubev-hosts@udp" in trouble.cures[0] and "drift lab3 paris/a --repair" in trouble.cures[1]
