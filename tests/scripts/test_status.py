"""`vcubev status`: what is made of machines' answers, and how it looks."""

import io
import json
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import jsonschema
import pytest
from pydantic import TypeAdapter
from rich.console import Console

from components.model.topology import VirtualAddress
from scripts.cli.assemble import assemble, iso
from scripts.cli.picture import seen
from scripts.cli.screen import age, milliseconds, screen
from scripts.cli.snapshot import AWAY, CUT_OFF, DOWN, DRAINED, HIDDEN, UNFIT, UP, Offload, Snapshot
from scripts.cli.stack import ROOT
from scripts.cli.watching import changes
from tests.scripts.seen_stack import (
    MOMENT,
    NOW,
    SCHEMA,
    TOPOLOGY,
    ago,
    answers,
    heard,
    host_state,
    hub_state,
    inventory,
    of,
    path,
    snapshot,
)


def test_what_can_be_asked_is_told_as_the_agents_have_it():
    host, hub = of(snapshot(), "web-1"), of(snapshot(), "oregon/a")
    assert (host.state, host.primary, host.spare, host.since) == (UP, "oregon/a", "paris/a", "2026-11-24T11:58:25.000Z")
    assert (host.last_move.source, host.last_move.target, host.last_move.outage_ms) == ("oregon/b", "oregon/a", 345)
    assert host.counters.drop == {"no service": 12} and host.versions.openvpn == "2.6.14" and host.dco is False
    assert host.certificate_ends == "2026-12-14T12:00:00.000Z"
    assert (hub.state, hub.preferred, hub.carried, hub.transports) == (UP, 2, 5, {"udp": 5, "tcp": 0})
    assert {link.peer: (link.up, link.bfd) for link in hub.links}["oregon/b"] == (False, "Down")
    assert hub.versions.bird == "2.0.12" and hub.revocation_list_ends.startswith("2036")


def test_what_cannot_be_asked_is_said_with_its_reason_and_shown_as_others_have_it():
    found = snapshot()
    assert (of(found, "web-2").state, of(found, "web-2").primary, of(found, "web-2").spare) == (
        HIDDEN, "tokyo/a", "oregon/a",
    ), "the hubs carry it: the higher number has the traffic"  # fmt: skip
    assert of(found, "ldap-1").state == DOWN and "no answer within 5 s" in of(found, "ldap-1").why
    told = {trouble.member: trouble.why for trouble in found.unseen}
    assert set(told) == {"oregon/b", "db-1", "web-2", "ldap-1", "ldap-2", "web-4", "tokyo/a", "web-3"}
    assert told["tokyo/a"] == "its agent says nothing since 300 s" and told["web-3"] == "its agent says nothing"


def test_a_dead_agents_last_words_are_not_believed():
    hub = of(snapshot(), "tokyo/a")
    assert (hub.state, hub.links, hub.preferred) == (UNFIT, [], None)
    assert not any(trip.source == "tokyo/a" for trip in snapshot().round_trips)


def test_a_hub_that_others_reach_is_not_called_dead():
    well = heard(host_state(path("oregon/b"), path("paris/a")), "host")
    assert of(snapshot(), "oregon/b").state == DOWN
    hub = of(snapshot({"web-4": well}), "oregon/b")
    assert hub.state == HIDDEN and "others reach it" in hub.why, "it is our own way to it that is lost"


def test_a_hub_that_answers_nobody_is_down_before_its_time_is_over():
    """While somebody watches: its last answer is a second old, and all its neighbours have lost it."""
    hanging = heard(hub_state("oregon/b"), "hub", routes=[])
    hanging.asked, hanging.answered = MOMENT - 0.8, MOMENT - 1.5
    assert of(snapshot({"oregon/b": hanging}), "oregon/b").state == DOWN
    assert of(snapshot({"oregon/b": hanging}, MOMENT - 0.5), "oregon/b").state == UP, "it may just be slow"
    hanging.answered = MOMENT - 0.7
    assert of(snapshot({"oregon/b": hanging}), "oregon/b").state == UP, "it has answered us"


def test_troubles_are_what_is_not_well_and_a_drained_hub_is_none():
    troubles = {(trouble.member, trouble.why) for trouble in snapshot().troubles}
    assert ("db-2", "no tunnel brings answers") in troubles and of(snapshot(), "db-2").state == CUT_OFF
    assert of(snapshot(), "paris/a").state == DRAINED and "paris/a" not in {member for member, _ in troubles}
    assert not any("its link to oregon/b" in why for _, why in troubles), "the hub itself is the trouble"
    rival = heard(host_state(path("oregon/a"), path("paris/a"), rival=True), "host")
    assert any("identity" in trouble.why for trouble in snapshot({"web-3": rival}).troubles)
    cut = heard(hub_state("oregon/a", links=[{**hub_state("oregon/a")["links"][1], "bgp": "Active"}]), "hub", routes=[])
    assert any("its link to paris/a is down (Active)" in t.why for t in snapshot({"oregon/a": cut}).troubles)
    shut = heard(hub_state("oregon/a", shut=["udp"]), "hub", routes=[])
    assert any("hosts cannot come in by udp" in trouble.why for trouble in snapshot({"oregon/a": shut}).troubles)


def test_all_is_well_when_it_is():
    well = {hub.key: heard(hub_state(hub.key), "hub", routes=[]) for hub in TOPOLOGY.hubs}
    well |= {host.name: heard(host_state(path("oregon/a"), path("paris/a")), "host") for host in TOPOLOGY.hosts}
    found = snapshot(well)
    assert found.well and not found.unseen and not found.troubles


def test_a_laptop_is_where_the_hubs_have_it_and_its_absence_is_no_trouble():
    address = VirtualAddress(IPv4Address("10.101.1.77"), IPv6Address("fd5c:ab1f:0:1::4d"))
    host = replace(TOPOLOGY.hosts[0], name="laptop-1", unmanaged=True, address=address)
    site = replace(TOPOLOGY.sites[0], hosts=(*TOPOLOGY.sites[0].hosts, host))
    topology = replace(TOPOLOGY, sites=(site, *TOPOLOGY.sites[1:]))
    said = answers()
    (away,) = [h for h in assemble("s", inventory(), topology, said, NOW, MOMENT).hosts if h.unmanaged]
    assert away.state == AWAY
    said["oregon/a"].routes = [{"dst": str(host.address.ipv4), "metric": 2}]
    (there,) = [h for h in assemble("s", inventory(), topology, said, NOW, MOMENT).hosts if h.unmanaged]
    assert (there.state, there.primary) == (UP, "oregon/a")


def test_agents_of_an_earlier_version_are_understood():
    old = {"fit": 1, "draining": 0, "reasons": [], "preferred": 1, "carried": 1, "sessions": 1, "peers": 1, "ends": {}}
    host = host_state(path("oregon/a"), path("paris/a"))
    kept = {key: host[key] for key in ("active", "claimed", "number", "rival", "switches", "paths")}
    found = snapshot({"oregon/b": heard(old, "hub", routes=[]), "web-3": heard(kept, "host")})
    assert of(found, "oregon/b").state == UP and of(found, "web-3").state == UP
    assert of(found, "web-3").last_move is None


def test_the_server_that_a_host_uses_is_told_and_that_it_has_none_is_trouble():
    moved = {"at": ago(95.0), "from": "10.101.3.2", "to": "10.101.3.1", "reason": "silent"}
    ldap = {"shared": ["10.101.3.0"], "id": 1, "server": "10.101.3.1", "rtt_ms": 0.4, "since": ago(95.0)}
    ldap |= {"healthy": ["10.101.3.1", "10.101.3.77"], "moves": {"silent": 1}, "last_move": moved}
    lonely = {**ldap, "server": None, "rtt_ms": None, "healthy": []}
    host = heard(host_state(path("oregon/a"), path("paris/a")), "host", nearest={"ldap": ldap, "time": lonely})
    found = snapshot({"web-3": host})
    jsonschema.validate(found.as_json(), json.loads(SCHEMA.read_text()))
    ldap, time = of(found, "web-3").nearest
    assert (ldap.server, ldap.healthy, ldap.since) == ("ldap-1", ["ldap-1", "10.101.3.77"], "2026-11-24T11:58:25.000Z")
    assert (ldap.last_move.source, ldap.last_move.target, ldap.last_move.reason) == ("ldap-2", "ldap-1", "silent")
    assert time.server is None and "service time has no server" in str(found.troubles)
    shown = drawn(found, 80)
    assert max(map(len, shown.splitlines())) <= 80
    (line,) = [line for line in shown.splitlines() if "10.101.3.0" in line and "ldap" in line]
    assert line.split()[:4] == ["web-3", "ldap", "10.101.3.0", "ldap-1"]


def test_a_hosts_tunnels_to_other_hosts_are_told():
    used = {"peer": "10.101.3.1", "in_use": True, "listens": False, "rtt_ms": 0.4, "loss": 0.0}
    host = heard(host_state(path("oregon/a"), path("paris/a")), "host")
    host.direct = {"1": used, "2": {**used, "peer": "10.101.3.77", "in_use": False, "rtt_ms": None, "loss": 0.25}}
    found = snapshot({"web-3": host})
    jsonschema.validate(found.as_json(), json.loads(SCHEMA.read_text()))
    assert [(one.peer, one.in_use) for one in of(found, "web-3").direct] == [("ldap-1", True), ("10.101.3.77", False)]
    shown = drawn(found, 80)
    assert max(map(len, shown.splitlines())) <= 80
    lines = [line.split() for line in shown.splitlines() if "direct" in line or "by hubs" in line]
    assert ["web-3", "ldap-1", "direct", "0.4", "0%"] in lines


def test_the_picture_of_a_network_is_made_of_the_same():
    found = seen(snapshot())
    assert found.members["paris/a"] == "unfit" and found.members["oregon/b"] == "down"
    assert found.members["web-2"] == "unfit" and [t.hub for t in found.tunnels["web-2"]] == ["tokyo/a", "oregon/a"]
    assert found.links == {
        ("oregon/a", "oregon/b"): None, ("oregon/a", "paris/a"): 61.2, ("oregon/a", "tokyo/a"): 140.0,
        ("paris/a", "oregon/a"): 62.0,
    }  # fmt: skip


# Form


def test_the_form_for_programs_is_the_one_that_is_written_down():
    wanted = TypeAdapter(Snapshot).json_schema()
    assert json.loads(SCHEMA.read_text()) == wanted, "python -m scripts.cli.snapshot > docs/status.schema.json"
    jsonschema.validate(json.loads(json.dumps(snapshot().as_json())), wanted)


# Screen


def drawn(found, width, told=(), **options):
    console = Console(width=width, color_system=None, record=True, file=io.StringIO(), **options)
    console.print(screen(found, width, list(told)))
    return console.export_text()


@pytest.mark.parametrize("width", [80, 120])
def test_a_screen_is_what_it_was(width, snapshot_text):
    told = ["12:00:01 web-1: traffic oregon/b → oregon/a (silent, 345 ms)"]
    shown = drawn(snapshot(), width, told)
    assert max(map(len, shown.splitlines())) <= width
    snapshot_text(f"status-{width}.txt", shown)


@pytest.fixture
def snapshot_text(request):
    """Compare with a file beside the tests; --snapshot-update writes it."""

    def compare(name, text):
        file = ROOT / "tests" / "scripts" / "screens" / name
        text = "\n".join(line.rstrip() for line in text.splitlines()) + "\n"
        if request.config.getoption("--snapshot-update"):
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)
        assert file.read_text() == text

    return compare


def test_a_wide_matrix_is_split_and_nothing_of_it_is_lost():
    hubs = [replace(of(snapshot(), "oregon/a"), name=f"site-{n:02}/hub") for n in range(25)]
    trip = snapshot().round_trips[0]
    trips = [replace(trip, source=a.name, target=b.name, ms=100.0 + n) for n, a in enumerate(hubs) for b in hubs]
    shown = drawn(replace(snapshot(), hubs=hubs, hosts=[], round_trips=trips), 80)
    assert max(map(len, shown.splitlines())) <= 80
    assert shown.count("Round trips to hubs, ms, more") >= 3
    assert all(shown.count(hub.name) > 4 for hub in hubs) and "…" not in shown
    assert shown.count(" 124") == 24, "to each hub but itself"


AGES = [(None, ""), (0.2, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (200_000, "2 d"), (-5, "0 s")]


@pytest.mark.parametrize("since, told", AGES)
def test_how_long_ago_is_told_in_one_unit(since, told):
    now = snapshot().time
    assert age(None if since is None else iso(ago(since)), now) == told


def test_a_round_trip_has_its_colour_and_is_short():
    assert [milliseconds(ms) for ms in (None, 0.341, 3.14, 29.9, 119, 121)] == [
        "[red]-[/]", "[green]0.34[/]", "[green]3.1[/]", "[green]30[/]", "[yellow]119[/]", "[dark_orange]121[/]",
    ]  # fmt: skip


def test_what_machines_say_is_no_markup():
    rogue = heard(hub_state("oregon/a", fit=0, reasons=["[red]\x1b[2J"]), "hub", routes=[])
    assert "[red]" in drawn(snapshot({"oregon/a": rogue}), 200)


# Changes


def test_changes_are_told_in_words():
    before = snapshot()
    links = [{**link, "bgp": "Active"} for link in hub_state("oregon/a")["links"] if link["peer"] == "paris/a"]
    moved = {"at": ago(1), "from": "oregon/a", "to": "paris/a", "reason": "not fit", "outage_ms": None}
    after = snapshot(
        {
            "oregon/a": heard(hub_state("oregon/a", links=links), "hub", routes=[]),
            "web-1": heard(host_state(path("paris/a"), path("tokyo/a"), last_move=moved), "host"),
            "db-2": heard(host_state(path("oregon/b"), path("paris/a")), "host"),
        }
    )
    told = [line.partition(" ")[2] for line in changes(before, after)]
    assert "web-1: traffic oregon/a → paris/a (not fit)" in told and "web-1: spare paris/a → tokyo/a" in told
    assert "db-2: cut off → up" in told and "oregon/a: link to paris/a: down (Active)" in told
    assert not list(changes(after, after))


def test_a_hub_with_several_processes_shows_each_and_what_its_kernel_could_do():
    found = snapshot()
    hub = of(found, "oregon/a")
    wide = replace(hub, doors={"tcp": 0, "udp": 3, "udp2": 2}, offload=Offload("ovpn-dco", True))
    console = Console(width=160, file=io.StringIO())
    console.print(screen(replace(found, hubs=[wide]), 160))
    shown = console.file.getvalue()
    assert "5 udp (3+2)" in shown and "program (kernel has ovpn-dco)" in shown


def test_what_a_hub_found_out_about_its_kernel_is_told_to_programs():
    facts = ["6.18.44", "OpenVPN 2.6.14 x", '[{"linkinfo":{"info_kind":"tun"}}]', '{"kernel": "ovpn", "openvpn": true}']
    given = answers()
    given["oregon/a"].facts = facts
    found = assemble("mine", inventory(), TOPOLOGY, given, NOW, MOMENT)
    assert of(found, "oregon/a").offload == Offload("ovpn", True) and of(found, "oregon/a").dco is False
    assert of(snapshot(), "oregon/a").offload is None, "a hub of before"
