"""How outcomes and routes are judged. Needs no root."""

import json

import pytest

from tests.lab.faults import outcome
from tests.lab.faults.outcome import Outcome, Pair, Stream, weigh
from tests.lab.faults.routes import Tables, disagreements

NAMES = {1: "oregon/a", 2: "paris/a", 3: "tokyo/a"}
WEB, SPARE = "10.0.1.1", "10.0.1.2"
LIVE = {"web-1": [WEB]}


def mesh(oregon, paris, tokyo):
    return {"oregon/a": oregon, "paris/a": paris, "tokyo/a": tokyo}


RIGHT = mesh(
    Tables({WEB: "hosts-udp"}, {WEB: 5}),
    Tables({WEB: "link1"}, {WEB: 4}),  # its second path
    Tables({WEB: "link2"}),  # the link to oregon/a is down
)


def test_tables_of_the_kernel_are_read_as_main_and_hosts():
    routes = [
        {"dst": "default", "dev": "eth0"},
        {"type": "unreachable", "dst": "10.0.0.0/16"},
        {"type": "local", "dst": "10.0.0.1", "dev": "lo", "table": "local"},
        {"dst": WEB, "dev": "hosts-udp", "protocol": "bird"},
        {"dst": WEB, "dev": "hosts-udp", "table": "100", "metric": 7},
    ]
    assert Tables.of(routes) == Tables({WEB: "hosts-udp"}, {WEB: 7})


def test_hubs_agree_when_every_way_ends_where_the_host_is_even_by_a_third_hub():
    assert disagreements(RIGHT, NAMES, LIVE, {"ldap-1": [SPARE]}) == []


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"tokyo/a": Tables()}, "web-1 10.0.1.1 by tokyo/a: tokyo/a has no route"),
        ({"paris/a": Tables({WEB: "link3"})}, "goes round in a loop"),
        ({"oregon/a": Tables({WEB: "hosts-udp"})}, "routes to hosts-udp, where it is not connected"),
        ({"paris/a": Tables({WEB: "hosts-tcp"}, {WEB: 4})}, "is at oregon/a, paris/a at once"),
        ({"paris/a": Tables({WEB: "link1"}, {WEB: 6})}, "is sought at oregon/a, but its numbers are"),
        ({"tokyo/a": Tables({WEB: "link2", SPARE: "link1"})}, "tokyo/a has a route to 10.0.1.2 of ldap-1"),
        ({"tokyo/a": Tables({WEB: "link9"})}, "tokyo/a routes to the dead hub link9"),
    ],
)
def test_a_wrong_route_is_found_and_named(changed, complaint):
    found = disagreements({**RIGHT, **changed}, NAMES, LIVE, {"ldap-1": [SPARE]})
    assert any(complaint in line for line in found), found


def test_a_route_to_a_dead_hub_is_found_even_if_it_is_to_no_host():
    hubs = {name: tables for name, tables in RIGHT.items() if name != "oregon/a"}
    found = disagreements(hubs, NAMES, {}, {})
    assert found == ["paris/a routes 10.0.1.1 to the dead hub oregon/a"]


def seen(gap_ms=20.0, lost=0):
    return {"sent": 100, "received": 100 - lost, "lost": lost, "gap_ms": gap_ms, "gap_at": 11.0}


def reports():
    end = {"sends": True, "records": 100, "error": "", "stall_ms": 0}
    other = {"sends": False, "records": 100, "error": "", "stall_ms": 300}
    a = {"b": seen(420, 20), "b ipv6": seen(), "c": seen(4000, 190)}
    b = {"a": seen(320, 15), "c": seen(4000, 190)}
    return {
        "a": {"late_ms": 1, "peers": a, "streams": {"1": end}},
        "b": {"late_ms": 2, "peers": b, "streams": {"1": other}},
        "c": None,
    }


STREAMS = {1: Stream("a", "b", sender="a")}


def test_what_a_fault_kills_is_not_held_against_the_network():
    result = weigh("test", reports(), STREAMS, 10.0, dead=["c"])
    assert result.outage_ms == {Pair("b", "a"): 400, Pair("b", "a", "ipv6"): 0, Pair("a", "b"): 300}
    assert result.hole_at[Pair("b", "a")] == 1.0
    assert (result.worst_ms, result.median_ms, result.lost_packets) == (400, 350, 35)
    result.check()


def test_pairs_that_a_fault_parts_are_not_held_against_it_either_but_their_streams_must_survive():
    result = weigh("test", reports(), STREAMS, 10.0, dead=["c"], apart=[{"a"}, {"b"}])
    assert result.outage_ms == {} and len(result.streams) == 1


def test_a_long_outage_a_broken_stream_and_a_silent_host_fail_the_check():
    with pytest.raises(AssertionError, match="no report from c"):
        weigh("test", reports(), STREAMS, 10.0).check()
    with pytest.raises(AssertionError, match="too long"):
        weigh("test", reports(), STREAMS, 10.0, dead=["c"]).check(bound_ms=400)
    short = reports()
    short["b"]["streams"]["1"]["records"] = 99
    with pytest.raises(AssertionError, match="99 of 100 records arrived"):
        weigh("test", short, STREAMS, 10.0, dead=["c"]).check()


def test_the_record_of_all_runs_keeps_the_worst_of_each_fault(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for fault, outage in (("one", 300), ("one", 900), ("other", 5000), ("one", 200)):
        worst = Outcome(fault, {Pair("a", "b"): outage}).keep()
    assert worst == 900
    last = json.loads(outcome.figures_file().read_text().splitlines()[-1])
    assert (last["fault"], last["worst_ms"], last["worst_ever_ms"]) == ("one", 200, 900)
