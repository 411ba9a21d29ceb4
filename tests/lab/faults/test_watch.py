"""The watchers' own arithmetic, and two of them on this computer's loopback. Needs no root."""

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.lab.faults import watch
from tests.lab.faults.watch import TICK_SECONDS, Arrivals, Stream, at

START = 1000


def arrivals(*ticks, delay=0.001):
    found = Arrivals(START)
    for tick in ticks:
        found.note(tick, at(tick) + delay)
    return found


def test_steady_datagrams_leave_no_hole_but_the_tick():
    report = arrivals(*range(START, START + 100)).report(START + 100)
    assert report["lost"] == report["twice"] == report["gaps"] == 0
    assert report["gap_ms"] == pytest.approx(TICK_SECONDS * 1000, abs=2)


@pytest.mark.parametrize(
    ("missing", "begins"),
    [((0, 20), START), ((40, 60), START + 39), ((80, 100), START + 79)],
    ids=["at the start", "in the middle", "at the end"],
)
def test_an_outage_is_one_hole_wherever_it_lies(missing, begins):
    came = [START + n for n in range(100) if not missing[0] <= n < missing[1]]
    report = arrivals(*came).report(START + 100)
    assert report["lost"] == 20 and report["gaps"] == 1
    assert report["gap_ms"] == pytest.approx(410, abs=15)
    assert report["gap_at"] == pytest.approx(at(begins), abs=0.01)


def test_datagrams_that_come_late_or_twice_or_from_another_watch_are_not_lost_nor_counted_twice():
    found = arrivals(START, START + 2, START + 1, START + 2, START - 5, START + (1 << 25))
    assert found.report(START + 3) | {"gap_ms": 0, "gap_at": 0} == {
        "sent": 3, "received": 3, "lost": 0, "twice": 1, "gap_ms": 0, "gap_at": 0, "gaps": 0,
    }  # fmt: skip


def test_silence_counts_even_if_nothing_ever_came():
    report = arrivals().report(START + 50)
    assert report["lost"] == 50 and report["gap_ms"] == pytest.approx(1000)


def ends(sends=True):
    server = socket.create_server(("127.0.0.1", 0))
    one, other = socket.create_connection(server.getsockname()), server.accept()[0]
    server.close()
    sender, receiver = Stream(1, "", sends), Stream(1, "", False)
    sender.take(one)
    receiver.take(other)
    return sender, receiver


def test_a_stream_ends_well_when_all_records_came_in_order():
    sender, receiver = ends()
    for turn in range(30):
        for end in (sender, receiver):
            end.turn(recording=turn < 20)
    told = sender.report(), receiver.report()
    assert [end["error"] for end in told] == ["", ""]
    assert [end["records"] for end in told] == [20, 20]


def test_a_stream_that_is_reset_or_out_of_order_says_so():
    sender, receiver = ends()
    sender.turn(recording=True)
    sender.records += 1  # one is left out
    sender.turn(recording=True)
    receiver.turn(recording=True)
    assert "record 2 instead of 1" in receiver.report()["error"]
    sender, receiver = ends()
    sender.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sender.socket.close()
    receiver.turn(recording=True)
    assert receiver.report()["error"] == "ECONNRESET"


def test_a_stream_that_was_never_made_or_never_ended_says_so():
    assert Stream(1, "", True).report()["error"] == "never connected"
    _, receiver = ends()
    receiver.turn(recording=True)
    assert receiver.report()["error"] == "not ended"


class Pair:
    """Two watchers that watch each other, with a stream from the first to the second."""

    def __init__(self, port):
        addresses = {"one": "127.0.0.2", "other": "127.0.0.3"}
        self.watchers = {}
        for name, peer in (("one", "other"), ("other", "one")):
            stream = {"peer": addresses[peer] if name == "one" else "", "sends": name == "one"}
            order = {
                "addresses": [addresses[name]], "port": port, "patience": 1, "peers": {peer: addresses[peer]},
                "streams": {1: stream},
            }  # fmt: skip
            command = [sys.executable, "-ISc", Path(watch.__file__).read_text(), json.dumps(order)]
            self.watchers[name] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for watcher in self.watchers.values():
            assert watcher.stdout.readline() == "ready\n"

    def tell(self, word, *names):
        tick = int((time.monotonic() + 0.1) / TICK_SECONDS)
        for name in names or self.watchers:
            self.watchers[name].stdin.write(f"{word} {tick}\n")
            self.watchers[name].stdin.flush()

    def report(self, name):
        return json.loads(self.watchers[name].stdout.readline())


@pytest.fixture
def pair():
    with socket.create_server(("127.0.0.2", 0)) as free:
        port = free.getsockname()[1]
    made = Pair(port)
    yield made
    for watcher in made.watchers.values():
        watcher.kill()
        watcher.wait()


def test_two_watchers_lose_nothing_on_a_network_that_loses_nothing(pair):
    pair.tell("start")
    time.sleep(0.6)
    pair.tell("stop")
    one, other = pair.report("one"), pair.report("other")
    assert one["peers"]["other"]["lost"] == other["peers"]["one"]["lost"] == 0
    assert one["peers"]["other"]["received"] == other["peers"]["one"]["received"] >= 25
    assert one["streams"]["1"]["records"] == other["streams"]["1"]["records"] >= 25
    assert one["streams"]["1"]["error"] == other["streams"]["1"]["error"] == ""


def test_a_watcher_tells_what_it_saw_when_its_peer_dies_or_it_is_asked_to_end(pair):
    pair.tell("start")
    time.sleep(0.4)
    pair.watchers["other"].kill()
    time.sleep(0.4)
    pair.watchers["one"].send_signal(signal.SIGTERM)
    report = pair.report("one")
    assert report["peers"]["other"]["gap_ms"] > 250
    assert report["streams"]["1"]["error"]


def test_a_watcher_whose_starter_is_gone_ends_at_once(pair):
    pair.tell("start")
    watcher = pair.watchers["one"]
    watcher.stdin.close()
    assert watcher.wait(timeout=5) == 1
