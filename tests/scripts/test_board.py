"""The dashboard's board: what follows from what machines tell."""

from scripts.cli.dashboard.board import Board
from tests.scripts.dashboards import NOW, TOPOLOGY, host_tells, hub_tells, inventory, routes, well


def states(board, kind):
    return {one["name"]: one["state"] for one in board.view(NOW)[kind]}


def links(board):
    return {frozenset(link["ends"]): link["state"] for link in board.view(NOW)["links"]}


def told_of(board, who):
    return [event["what"] for event in board.events if event["who"] == who]


def test_all_is_well_where_all_say_so_and_the_first_look_is_no_news():
    board = well()
    view = board.view(NOW)
    assert view["well"] and not view["events"]
    assert set(states(board, "hubs").values()) == set(states(board, "hosts").values()) == {"up"}
    assert len(view["links"]) == 6 and set(links(board).values()) == {"up"}


def test_nobody_is_said_to_be_down_before_anybody_has_answered():
    board = Board("lab3", TOPOLOGY, inventory())
    assert set(states(board, "hubs").values()) == set(states(board, "hosts").values()) == {"unseen"}
    assert not board.events and not board.view(NOW)["well"]


def test_a_silent_hub_is_down_if_all_that_can_be_asked_have_lost_their_links_to_it_else_unseen():
    board = well()
    board.silent("paris/a", "time-out")
    assert states(board, "hubs")["paris/a"] == "unseen"
    for hub in ("oregon/a", "oregon/b", "tokyo/a"):
        board.told(hub, hub_tells(hub, down=["paris/a"]), {}, NOW)
    assert states(board, "hubs")["paris/a"] == "down"
    assert {state for ends, state in links(board).items() if "paris/a" in ends} == {"down"}
    assert told_of(board, "paris/a")[0].startswith("unseen → down: time-out; no hub has its link to it")


def test_a_link_is_down_if_either_end_says_so_and_its_hubs_stay_up():
    board = well()
    board.told("paris/a", hub_tells("paris/a", down=["tokyo/a"]), {}, NOW)
    assert links(board)[frozenset({"paris/a", "tokyo/a"})] == "down"
    assert set(states(board, "hubs").values()) == {"up"}


def test_a_host_that_only_we_do_not_reach_is_unseen_and_shown_at_the_hub_that_carries_it():
    board = well()
    board.told("tokyo/a", hub_tells("tokyo/a"), routes("web-1"), NOW)
    board.told("paris/a", hub_tells("paris/a"), {address: 12 for address in routes("web-1")}, NOW)
    board.silent("web-1", "time-out")
    host = next(host for host in board.view(NOW)["hosts"] if host["name"] == "web-1")
    assert (host["state"], host["hub"], host["spares"]) == ("unseen", "paris/a", ["tokyo/a"])
    board.silent("web-2", "time-out")
    assert states(board, "hosts")["web-2"] == "down"


def test_a_host_whose_tunnel_is_dead_is_down_and_a_drained_hub_says_why():
    board = well()
    board.told("web-1", host_tells("oregon/a", "oregon/b", alive=False), {}, NOW)
    board.told("oregon/a", hub_tells("oregon/a", fit=0, draining=1, reasons=["draining"]), {}, NOW)
    assert states(board, "hosts")["web-1"] == "down"
    assert states(board, "hubs")["oregon/a"] == "draining" and told_of(board, "oregon/a") == ["up → draining: draining"]


def test_a_move_is_told_once_with_its_outage_as_soon_as_that_is_known():
    board = well()
    move = {"at": NOW + 1, "from": "oregon/a", "to": "oregon/b", "reason": "silent", "outage_ms": None}
    board.told("web-1", host_tells("oregon/b", "oregon/a", last_move=move), {}, NOW + 1)
    board.told("web-1", host_tells("oregon/b", "oregon/a", last_move={**move, "outage_ms": 341}), {}, NOW + 2)
    assert told_of(board, "web-1") == ["oregon/a to oregon/b: silent, 341 ms without"]


def test_a_move_of_long_ago_is_no_news():
    board = Board("lab3", TOPOLOGY, inventory())
    move = {"at": NOW - 999, "from": "oregon/a", "to": "oregon/b", "reason": "silent", "outage_ms": 3}
    for _ in range(2):
        board.told("web-1", host_tells("oregon/b", "oregon/a", last_move=move), {}, NOW)
        board.view(NOW)
    assert told_of(board, "web-1") == []


def test_the_matrix_has_each_member_s_round_trips_by_tunnel_where_there_is_one():
    matrix = well().view(NOW)["matrix"]
    rows = {row["name"]: dict(zip(matrix["columns"], row["rtt_ms"], strict=True)) for row in matrix["rows"]}
    assert rows["oregon/a"]["paris/a"] == 42.0 and rows["oregon/a"]["oregon/a"] is None
    assert rows["web-1"] == {"oregon/a": 12.5, "oregon/b": 80.0, "paris/a": None, "tokyo/a": 140.0}


def test_what_packet_filters_drop_is_listed_by_machine_and_reason():
    board = well()
    assert {"machine": "oregon/a", "reason": "no service", "packets": 3} in board.view(NOW)["policy"]["drops"]
