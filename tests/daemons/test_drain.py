"""The hub's `drain` in a real shell: how long a hub that is to stop waits for its hosts."""

import json
import subprocess
import time

import pytest

from components.model import render
from tests.rendering import TOPOLOGY

HUB, PEER = TOPOLOGY.hubs[0], TOPOLOGY.hubs[1]
ENDPOINTS = {HUB: "203.0.113.1", PEER: "203.0.113.2"}
PING = """#!/bin/sh
for last in "$@"; do :; done
echo "$last" >>{place}/pinged
grep -qxF "$last" {place}/answering
"""


@pytest.fixture
def place(tmp_path):
    """A directory in place of the hub's own; `answering` lists the addresses whose pings are answered."""
    (tmp_path / "hubs").mkdir()
    (tmp_path / "run").mkdir()
    link = next(link for link in TOPOLOGY.links if {link.listener, link.dialer} == {HUB, PEER})
    files = render.hub_files(HUB, TOPOLOGY.overlay, ENDPOINTS[HUB])
    files |= render.link_files(HUB, PEER, link, ENDPOINTS[PEER])
    for path in (f"{render.HOOKS}/drain", "/etc/vcubev/overlay.env"):
        content = files[path].content
        for old, new in {"/etc/vcubev": tmp_path, "/run/vcubev-hub": tmp_path / "run"}.items():
            content = content.replace(old, str(new))
        (tmp_path / path.rpartition("/")[2]).write_text(content)
    for path in (path for path in files if path.startswith("/etc/vcubev/hubs/")):
        (tmp_path / "hubs" / path.rpartition("/")[2]).write_text(files[path].content)
    (tmp_path / "ping").write_text(PING.format(place=tmp_path))
    (tmp_path / "ping").chmod(0o755)
    (tmp_path / "answering").write_text(f"{ENDPOINTS[PEER]}\n")
    return tmp_path


def begin(place, *arguments, preferred=2, stranded=0):
    say(place, preferred, stranded)
    environment = {"PATH": f"{place}:/usr/bin:/bin"}
    return subprocess.Popen(["dash", place / "drain", *arguments], env=environment, stdout=subprocess.PIPE, text=True)


def say(place, preferred, stranded=0):
    state = {"fit": 0, "draining": 1, "preferred": preferred, "stranded": stranded, "carried": preferred}
    (place / "run" / "state.json").write_text(json.dumps(state))


@pytest.mark.parametrize("verb", ["leave", "roll"])
def test_a_hub_waits_for_its_hosts_though_the_link_to_the_only_other_hub_is_not_there_yet(place, verb):
    """The other one has just been made anew: its hosts come before its links, and only its public side answers."""
    drain = begin(place, verb)
    time.sleep(3)
    assert drain.poll() is None, drain.communicate()
    say(place, 0)
    assert drain.communicate(timeout=5)[0] == "" and drain.returncode == 0
    assert {*(place / "pinged").read_text().split()} == {ENDPOINTS[PEER]}, "no overlay address, and not itself"


@pytest.mark.parametrize("verb, mark", [("leave", "leaving"), ("roll", "rolling")])
def test_hosts_are_not_sent_away_before_all_of_them_can_go(place, verb, mark):
    """Those that went first would be parted from the others, where there is no link between the two hubs yet."""
    drain = begin(place, verb, stranded=1)
    time.sleep(2)
    assert drain.poll() is None and not (place / "run" / mark).exists()
    say(place, 2, stranded=0)
    time.sleep(2)
    assert drain.poll() is None and (place / "run" / mark).exists()
    say(place, 0)
    assert drain.communicate(timeout=5)[0] == ""


@pytest.mark.parametrize("verb, mark", [("leave", "leaving"), ("roll", "rolling")])
def test_hosts_of_a_hub_whose_agent_is_older_than_this_hook_are_sent_away_at_once(place, verb, mark):
    drain = begin(place, verb, stranded=None)
    time.sleep(1)
    assert (place / "run" / mark).exists()
    say(place, 0)
    drain.communicate(timeout=5)


@pytest.mark.parametrize("verb", ["leave", "roll"])
def test_a_hub_whose_hosts_have_nowhere_to_go_waits_for_nobody(place, verb):
    (place / "answering").write_text(f"{HUB.address.ipv4}\n{ENDPOINTS[HUB]}\n")
    assert begin(place, verb, stranded=2).communicate(timeout=5)[0] == "hosts stayed: 2\n"


def test_a_hub_does_not_wait_for_ever(place):
    assert begin(place, "roll", "2").communicate(timeout=8)[0] == "hosts stayed: 2\n"
