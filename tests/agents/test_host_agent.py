"""The host's agent: what it believes, and what it reads of fping."""

import json
from types import SimpleNamespace

import pytest

from tests.agents.loading import load

agent, tunnels, turns = load("paths"), load("tunnels"), load("turns")
RIGHT = {
    "id": 2,
    "site": "paris",
    "name": "a",
    "ipv4": "10.100.0.2",
    "endpoint": "203.0.113.2",
    "port": 1194,
    "tcp_port": 443,
}
WRONG = {
    "a directive in the address": {"endpoint": "203.0.113.2 1194\nup /tmp/x"},
    "a directive in the name": {"name": "a name\nscript-security 2"},
    "an option for fping": {"ipv4": "-f/etc/shadow"},
    "no port": {"port": "1194\nup /tmp/x"},
    "a port too high": {"tcp_port": 70000},
    "a site that is no name": {"site": "../paris"},
    "a name of no text": {"name": 7},
    "a directive in the inner address": {"inner": "172.30.1.5\nup /tmp/x"},
}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG)
def test_a_hub_that_was_taken_over_cannot_write_into_a_hosts_configuration(change):
    with pytest.raises((ValueError, TypeError)):
        tunnels.Hub(**{**RIGHT, **change})


@pytest.mark.parametrize(
    "transport, lines",
    [
        ("udp", ["proto udp4", "remote 203.0.113.2 1194", "fast-io", "explicit-exit-notify 1"]),
        ("tcp", ["proto tcp4-client", "remote 203.0.113.2 443"]),
    ],
)
def test_a_tunnel_goes_to_one_hub_and_accepts_no_other(transport, lines):
    written = tunnels.tunnel_lines(2, tunnels.Hub(**RIGHT), transport)
    assert written == ["dev path2", *lines, "verify-x509-name hub.paris.a name"]


FPING = """ICMP Communication Administratively Prohibited from 203.0.113.3 for ICMP Echo sent to 203.0.113.3
203.0.113.2 : 12.1 11.9 -
203.0.113.3 : - - -
203.0.113.4 : - - -
"""


def test_a_survey_tells_near_from_dead_from_unfit():
    seen = tunnels.surveyed(FPING, {"203.0.113.2": 2, "203.0.113.3": 3, "203.0.113.4": 4})
    assert seen[2] == tunnels.Seen(0.0119, True)
    assert seen[3].rtt_seconds is not None and not seen[3].fit, "it lives, and says that it is not fit"
    assert seen[4] == tunnels.Seen(None, True)


def test_an_answer_of_fping_is_a_round_trip():
    assert agent.ANSWER.match("10.100.0.1 : [12], 64 bytes, 0.313 ms (0.3 avg, 0% loss)").groups() == ("12", "0.313")
    assert not agent.ANSWER.match("10.100.0.1 : [0], timed out (NaN avg, 100% loss)")


@pytest.fixture
def host(tmp_path, monkeypatch):
    config = {"host": "web-1", "site": "oregon", "network": "oregon", "ipv4": "10.100.1.1", "claims_port": 1195}
    config |= {"mtu_bytes": 1400, "jumbo_mtu_bytes": 8800}
    (tmp_path / "paths.json").write_text(json.dumps(config))
    (tmp_path / "hubs").mkdir()
    (tmp_path / "hubs" / "1.json").write_text(json.dumps({**RIGHT, "id": 1, "site": "oregon", "ipv4": "10.100.0.1"}))
    monkeypatch.setattr(agent, "CONFIG", tmp_path / "paths.json")
    monkeypatch.setattr(agent, "OWN_HUBS", tmp_path / "hubs")
    monkeypatch.setattr(agent, "KNOWN_HUBS", tmp_path / "known.json")
    return agent.Agent()


def test_a_host_begins_with_its_own_sites_hubs_and_remembers_the_others(host):
    host.load_hubs()
    assert set(host.choice.hubs) == {1}
    agent.KNOWN_HUBS.write_text(json.dumps([{**RIGHT, "id": 1, "site": "oregon", "endpoint": "203.0.113.99"}, RIGHT]))
    again = agent.Agent()
    again.load_hubs()
    assert set(again.choice.hubs) == {1, 2}
    assert again.choice.hubs[1].endpoint == "203.0.113.2", "the stack file knows its own site best"


@pytest.mark.parametrize("text", ["", "[{", "[7]", '[{"id": 2}]', "7"])
def test_a_memory_that_a_full_disk_cut_short_stops_no_host(host, text):
    agent.KNOWN_HUBS.write_text(text)
    host.load_hubs()
    assert set(host.choice.hubs) == {1}


def answered(host, **answer):
    """Let a hub's answer to the last claim arrive."""
    text = json.dumps({"nonce": f"1.{host._nonce}", "hash": "", **answer}).encode()
    host._socket = SimpleNamespace(recvfrom=lambda size: (text, ("10.100.0.1", 1195)))
    host._answered()


def test_a_host_tells_when_another_machine_has_its_identity(host, capsys):
    host.load_hubs()
    host.choice.paths[1].open(0.0, host.choice.hubs[1], "udp")
    host.choice.active = 1
    answered(host, number=4, elsewhere=3)
    assert not host.rival
    answered(host, number=4, elsewhere=6)
    assert host.rival and "another machine" in capsys.readouterr().out
    answered(host, number=8, elsewhere=6)
    assert not host.rival, "it had to claim again, and has its traffic"
    host._claimed = None
    answered(host, number=10, elsewhere=12)
    assert not host.rival, "the hub has not said so of what it has confirmed"


def test_a_host_whose_own_spare_has_the_traffic_claims_it_again_and_tells_of_no_other_machine(host, monkeypatch):
    """Its spare took over the number of a machine that had its identity and is gone."""
    monkeypatch.setattr(host, "_say", lambda path, question: None)
    host.load_hubs()
    host.choice.know([tunnels.Hub(**{**RIGHT, "id": 1, "ipv4": "10.100.0.1"}), tunnels.Hub(**RIGHT)])
    now = agent.time.monotonic()
    for path in host.choice.paths.values():
        path.open(now - 60, host.choice.hubs[path.number], "udp")
    host.choice.active, host._claimed = 1, (1, "oregon/a")
    answered(host, number=4, elsewhere=6, where=2)
    assert host.rival, "the spare brings no answers: it may be the other machine's tunnel"
    for probe in range(3):
        host.choice.heard(agent.time.monotonic(), 2, probe, 0.01, True)
    answered(host, number=4, elsewhere=6, where=3)
    assert host.rival and host._claimed, "it is at another hub"
    host.choice.paths[2].troubled = agent.time.monotonic() - 5
    answered(host, number=4, elsewhere=6, where=2)
    assert host.rival and host._claimed, "they may push each other out"
    host.choice.paths[2].troubled -= 60
    answered(host, number=4, elsewhere=6, where=2)
    assert host._claimed is None and host._claim_at == 0
    answered(host, number=8, elsewhere=6, where=2)
    assert host._claimed and not host.rival


def test_a_host_tells_its_hub_whether_it_could_go_and_the_one_before_that_it_has_gone(host, monkeypatch):
    said = []
    monkeypatch.setattr(host, "_say", lambda path, question: said.append((path.number, question)))
    host.load_hubs()
    now = agent.time.monotonic()
    for path in host.choice.paths.values():
        path.open(now, host.choice.hubs[1], "udp")
    host.choice.active = 1
    host._ask(now)
    for probe in range(3):
        host.choice.heard(now, 2, probe, 0.01, True)
    host._ask(now)
    host.choice.heard(now, 2, 3, None, False)
    host._ask(now)
    assert [(number, question["spare"]) for number, question in said] == [(1, False), (1, True), (1, False)]
    answered(host, number=4, elsewhere=3)
    *_, (number, question) = said
    assert number == 2 and question["left"] is True and "claim" not in question
    answered(host, number=4, elsewhere=3)
    assert len(said) == 4, "once"


def test_a_tunnel_that_was_asked_for_is_heard_when_it_has_begun(host, tmp_path, monkeypatch):
    monkeypatch.setattr(agent, "RUN", tmp_path)
    monkeypatch.setattr(turns, "STARTED", str(tmp_path / "{path}-{mark}"))
    monkeypatch.setattr(turns, "turn", lambda number: None)
    host = agent.Agent()
    monkeypatch.setattr(host, "_probe", lambda number, hub: None)
    monkeypatch.setattr(host, "_write", lambda: None)
    host.load_hubs()
    host._open(agent.Open(2, host.choice.hubs[1], "udp"))
    written, mark = (tmp_path / "2.conf").read_text().split("writepid ")
    assert written.splitlines() == tunnels.tunnel_lines(2, host.choice.hubs[1], "udp", host.choice.seat)
    assert host._turns.is_old(2) and not host._turns.is_old(1)
    (tmp_path / mark.strip()).touch()
    assert not host._turns.is_old(2)
