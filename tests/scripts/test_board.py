"""What the dashboard's page is told."""

from scripts.cli.cost import Charge
from scripts.cli.dashboard.board import REMEMBERED_EVENTS, Board
from scripts.cli.gather import Answer
from tests.scripts.seen_stack import TOPOLOGY, ago, heard, host_state, hub_state, path, snapshot


def view(found, board=None):
    return (board or Board("lab3", TOPOLOGY)).view(found)


def well():
    """All members say that they are well."""
    found = {hub.key: heard(hub_state(hub.key), "hub", routes=[]) for hub in TOPOLOGY.hubs}
    return found | {host.name: heard(host_state(path("oregon/a"), path("paris/a")), "host") for host in TOPOLOGY.hosts}


def links(shown):
    return {frozenset(link["ends"]): link["state"] for link in shown["links"]}


def test_a_link_is_down_if_one_end_says_so_and_unseen_if_nobody_says_anything():
    found = links(view(snapshot()))
    assert found[frozenset({"oregon/a", "oregon/b"})] == "down"
    assert found[frozenset({"oregon/a", "paris/a"})] == "up", "only one end has it, and it is up"
    assert found[frozenset({"oregon/b", "tokyo/a"})] == "unseen"
    assert set(links(view(snapshot(well()))).values()) == {"up"}


def test_the_first_look_is_no_news_and_what_happens_then_comes_newest_first():
    board = Board("lab3", TOPOLOGY)
    assert view(snapshot(well()), board)["events"] == []
    moved = {"at": ago(1), "from": "oregon/a", "to": "paris/a", "reason": "silent", "outage_ms": 341}
    after = well() | {"web-1": heard(host_state(path("paris/a"), path("tokyo/a"), last_move=moved), "host")}
    view(snapshot(after), board)
    after["db-1"] = heard(host_state(path("oregon/a", alive=False), path("paris/a")), "host")
    events = view(snapshot(after), board)["events"]
    assert events[0]["who"] == "db-1" and "up → cut off" in events[0]["what"]
    assert any(event["what"] == "traffic oregon/a → paris/a (silent, 341 ms)" for event in events)


def test_a_machine_that_is_heard_of_for_the_first_time_is_no_news():
    board, some = Board("lab3", TOPOLOGY), {name: answer for name, answer in well().items() if name != "web-4"}
    assert view(snapshot(some | {"web-4": Answer()}), board)["events"] == []
    assert view(snapshot(well()), board)["events"] == [], "web-4 was up all the time"
    assert view(snapshot(some | {"web-4": Answer(why="timed out")}), board)["events"][0]["who"] == "web-4"


def test_only_so_many_events_are_remembered():
    board, fine, ill = Board("lab3", TOPOLOGY), snapshot(well()), snapshot()
    for _ in range(REMEMBERED_EVENTS):
        view(fine, board)
        view(ill, board)
    assert len(view(fine, board)["events"]) == REMEMBERED_EVENTS


def test_the_matrix_has_the_way_that_traffic_takes_where_there_are_two_measures():
    matrix = view(snapshot())["matrix"]
    rows = {row["name"]: dict(zip(matrix["columns"], row["rtt_ms"], strict=True)) for row in matrix["rows"]}
    assert rows["web-1"]["paris/a"] == 61.0 and rows["web-1"]["tokyo/a"] == 131.5
    assert rows["oregon/a"]["paris/a"] == 61.2 and rows["oregon/a"]["oregon/b"] is None
    assert rows["ldap-1"] == dict.fromkeys(matrix["columns"])


def test_what_packet_filters_drop_is_listed_by_machine_and_reason():
    assert view(snapshot())["policy"]["drops"] == [{"machine": "web-1", "reason": "no service", "packets": 12}]


def test_what_a_site_costs_is_summed_and_what_no_price_is_known_of_is_named():
    place = ("oregon", "aws", "us-west-2")
    charges = (Charge(*place, "machine", "t3.small", 2, 15.0), Charge(*place, "disk", "odd", 1, None))
    cost = Board("lab3", TOPOLOGY, charges).view(snapshot())["cost"]
    assert cost["sites"] == [{"site": "oregon", "monthly_usd": 30.0}]
    assert cost["monthly_usd"] == 30.0 and cost["unknown"] == ["disk odd"]
