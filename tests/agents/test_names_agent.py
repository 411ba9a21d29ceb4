"""The hub's agent for names: what it reads, writes and tells. Kernel and other hubs are told, not there."""

import json
from ipaddress import IPv4Address

import pytest

from tests.agents.loading import load

agent, table = load("names"), load("table")
DOMAIN = "vcubev.internal"
CERTIFICATE = f"DNS:web-1.paris.{DOMAIN}, DNS:web-1.{DOMAIN}, DNS:web.{DOMAIN}, IP Address:10.100.1.1\n"
WEB_1, WEB_2 = table.Named("web-1", "paris", "web", True), table.Named("web-2", "tokyo", "web", True)
ONE, OTHER = IPv4Address("10.100.1.1"), IPv4Address("10.100.1.2")
HUBS = {IPv4Address("10.100.0.2"), IPv4Address("10.100.0.3")}


class Live:
    """The kernel's routes."""

    def __init__(self, overlay4):
        self.now, self.new, self.looks = set(), True, 0

    def changed(self):
        new, self.new = self.new, False
        return new

    def addresses(self):
        self.looks += 1
        return self.now


class Socket:
    def __init__(self, *_):
        self.sent = []

    def setblocking(self, _): ...

    def bind(self, where):
        self.bound = where

    def sendto(self, part, where):
        self.sent.append((where, part))


@pytest.fixture
def start(tmp_path, monkeypatch):
    config = {
        "ipv4": "10.100.0.1",
        "overlay_ipv4": "10.100.0.0/16",
        "overlay_ipv6": "fd5c:ab1e::/48",
        "domain": DOMAIN,
        "names_port": 1196,
    }
    (tmp_path / "names.json").write_text(json.dumps(config))
    for name in ("hosts", "udp", "tcp"):
        (tmp_path / name).mkdir()
    clock = {"now": 1000.0}
    monkeypatch.setattr(agent, "CONFIG", tmp_path / "names.json")
    monkeypatch.setattr(agent, "HOSTS", tmp_path / "hosts")
    monkeypatch.setattr(agent.doors, "devices", lambda: ["hosts-tcp", "hosts-udp"])
    monkeypatch.setattr(agent.doors, "sessions", lambda device: tmp_path / device.removeprefix("hosts-"))
    monkeypatch.setattr(agent, "Live", Live)
    monkeypatch.setattr(agent.socket, "socket", Socket)
    monkeypatch.setattr(agent.time, "monotonic", lambda: clock["now"])

    def make():
        made = agent.Names()

        def wait(seconds):
            end = clock["now"] + seconds
            while clock["now"] < end:
                clock["now"] += agent.LOOK_SECONDS
                made.look(clock["now"])
            sent = [(IPv4Address(where[0]), *table.told(part, made.overlay4)) for where, part in made.socket.sent]
            made.socket.sent.clear()
            return sent

        def route(*addresses):
            made.live.now, made.live.new = {*addresses, *HUBS}, True

        made.wait, made.route, made.clock = wait, route, clock
        return made

    return make


@pytest.fixture
def names(start):
    made = start()
    made.route()
    made.wait(2)
    return made


def files(tmp_path):
    return {path.name: path.read_text() for path in (tmp_path / "hosts").iterdir()}


def test_a_host_that_connects_is_in_a_file_and_at_all_other_hubs_at_once(names, tmp_path):
    (tmp_path / "udp" / "10.100.1.1.names").write_text(CERTIFICATE)
    names.route(ONE)
    sent = names.wait(0.2)
    assert sent == [(hub, False, {ONE: WEB_1}) for hub in sorted(HUBS)] or {s[0] for s in sent} == HUBS
    assert files(tmp_path) == {
        "10.100.1.1": table.lines(("10.100.1.1", "fd5c:ab1e:0:1::1"), [WEB_1], DOMAIN),
    }


def test_a_change_is_told_twice_and_everything_now_and_then(names, tmp_path):
    names.wait(agent.TELL_SECONDS)
    (tmp_path / "tcp" / "10.100.1.1.names").write_text(CERTIFICATE)
    told = [hosts for _, _, hosts in names.wait(agent.TELL_SECONDS + 1)]
    assert told.count({ONE: WEB_1}) == 3 * len(HUBS)


def test_a_host_that_is_connected_but_has_no_route_is_not_answered_for(names, tmp_path):
    (tmp_path / "udp" / "10.100.1.1.names").write_text(CERTIFICATE)
    names.wait(1)
    assert files(tmp_path) == {}


def test_a_host_whose_route_goes_is_out_at_the_next_look(names, tmp_path):
    names.hear(names.clock["now"], table.messages({OTHER: WEB_2})[0], "10.100.0.2")
    names.route(OTHER)
    names.wait(0.2)
    assert set(files(tmp_path)) == {"10.100.1.2"}
    names.route()
    names.wait(0.2)
    assert files(tmp_path) == {}


def test_a_host_stays_known_while_it_is_live_and_is_told(names, tmp_path):
    names.route(OTHER)
    for _ in range(4):
        names.hear(names.clock["now"], table.messages({OTHER: WEB_2})[0], "10.100.0.2")
        names.wait(agent.TELL_SECONDS)
        assert set(files(tmp_path)) == {"10.100.1.2"}
    names.wait(table.TOLD_SECONDS)
    assert files(tmp_path) == {}


def test_a_file_that_is_being_written_or_written_anew_is_read_again(names, tmp_path):
    left = tmp_path / "udp" / "10.100.1.1.names"
    left.touch()
    names.route(ONE)
    names.wait(0.2)
    left.write_text(CERTIFICATE)
    names.wait(0.2)
    assert "web-1" in files(tmp_path)["10.100.1.1"]
    left.write_text(CERTIFICATE.replace("web-1", "shop"))
    names.wait(agent.WHOLE_LOOK_SECONDS + 0.4)
    assert "shop" in files(tmp_path)["10.100.1.1"] and "web-1" not in files(tmp_path)["10.100.1.1"]


def test_certificates_of_before_there_were_names_are_passed_over(names, tmp_path):
    (tmp_path / "udp" / "10.100.1.2.names").write_text("IP Address:10.100.1.2\n")
    (tmp_path / "udp" / "10.100.1.1.names").write_text(CERTIFICATE)
    names.route(ONE, OTHER)
    names.wait(0.4)
    assert set(files(tmp_path)) == {"10.100.1.1"}


def test_a_hub_that_comes_is_told_everything_and_asked(start, tmp_path):
    (tmp_path / "udp" / "10.100.1.1.names").write_text(CERTIFICATE)
    names = start()
    names.wait(0.2)
    names.route(ONE)
    assert {(hub, ask) for hub, ask, _ in names.wait(0.2)} == {(hub, True) for hub in HUBS}
    names.live.now = {ONE, IPv4Address("10.100.0.2")}
    names.live.new = True
    names.wait(1)
    names.route(ONE)
    assert names.wait(0.2) == [(IPv4Address("10.100.0.3"), False, {ONE: WEB_1})]


def test_who_asks_is_answered_once_a_second(names, tmp_path):
    (tmp_path / "udp" / "10.100.1.1.names").write_text(CERTIFICATE)
    names.wait(agent.TELL_SECONDS + 0.4)
    for _ in range(100):
        names.hear(names.clock["now"], table.messages({}, ask=True)[0], "10.100.0.2")
    assert names.wait(0.2) == [(IPv4Address("10.100.0.2"), False, {ONE: WEB_1})]


@pytest.mark.parametrize("source", ["10.100.1.9", "10.100.0.1", "192.0.2.1", "10.101.0.2"])
def test_nobody_but_another_hub_is_heard(names, tmp_path, source):
    names.route(OTHER)
    names.hear(names.clock["now"], table.messages({OTHER: WEB_2})[0], source)
    names.wait(0.4)
    assert files(tmp_path) == {}


def test_a_hub_that_says_nonsense_is_told_of_once_and_the_next_packet_counts(names, tmp_path, capsys):
    names.route(OTHER)
    for nonsense in (b"", b"[" * 1000, b"{}", b"\xff" * 2000):
        names.hear(names.clock["now"], nonsense, "10.100.0.2")
    assert len(capsys.readouterr().out.splitlines()) == 1
    names.hear(names.clock["now"], table.messages({OTHER: WEB_2})[0], "10.100.0.2")
    names.wait(0.2)
    assert set(files(tmp_path)) == {"10.100.1.2"}


def test_an_agent_that_starts_anew_takes_nothing_back_until_it_has_heard_the_others(start, tmp_path):
    before = table.lines(("10.100.1.2", "fd5c:ab1e:0:1::2"), [WEB_2], DOMAIN)
    (tmp_path / "hosts" / "10.100.1.2").write_text(before)
    names = start()
    names.route(OTHER)
    names.wait(1)
    assert files(tmp_path) == {"10.100.1.2": before}
    names.hear(names.clock["now"], table.messages({OTHER: WEB_2})[0], "10.100.0.2")
    names.wait(2)
    assert files(tmp_path) == {"10.100.1.2": before}
    names.route()
    names.wait(0.2)
    assert files(tmp_path) == {}


def test_with_no_room_in_run_it_tries_again(names, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    (tmp_path / "udp" / "10.100.1.1.names").write_text(CERTIFICATE)
    names.route(ONE)
    with monkeypatch.context() as patch:
        patch.setattr(agent.pathlib.Path, "write_text", full)
        names.wait(0.4)
    assert files(tmp_path) == {}
    names.wait(0.2)
    assert set(files(tmp_path)) == {"10.100.1.1"}


def test_routes_that_change_without_end_cost_a_tenth_of_the_time(names, monkeypatch):
    def slow():
        names.clock["now"] += 0.5
        names.live.looks += 1
        return set(HUBS)

    names.live.addresses = slow
    before = names.live.looks
    for _ in range(100):
        names.live.new = True
        names.wait(0.2)
    assert names.live.looks - before <= 6
