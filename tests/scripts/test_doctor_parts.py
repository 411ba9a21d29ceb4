"""What `vcubev doctor` sees by the state alone, how machines look at themselves, and the command."""

import json
import struct

import pytest
from typer.testing import CliRunner

from scripts.cli import __main__ as cli
from scripts.cli import doctor_command
from scripts.cli import stack as stacks
from scripts.cli.doctor.examined import Trouble
from scripts.cli.doctor.network import OWN_DEVICES
from scripts.cli.doctor.stack import half_installed, half_run
from tests.agents.loading import load
from tests.scripts.healthy import seen


def resource(kind, name, **more):
    return {"urn": f"urn:pulumi:lab3::vcubev::{kind}::{name}", "type": kind, **more}


HOST, HUB, COMMAND = "vcubev:index:Host", "vcubev:index:Hub", "command:remote:Command"
DECLARED = {"lab3-oregon-a", "lab3-web-1"}
WHOLE = [
    resource(HUB, "lab3-oregon-a"), resource(COMMAND, "lab3-oregon-a-install"),
    resource(HOST, "lab3-web-1"), resource(COMMAND, "lab3-web-1-install"),
]  # fmt: skip


def broken(resources, **more):
    state = {"deployment": {"resources": resources, **more}}
    return [(one.where, one.seen) for one in half_run("lab3", state, DECLARED)]


def test_an_up_that_came_to_its_end_leaves_no_trouble():
    assert broken(WHOLE) == []


def test_an_up_that_was_broken_off_is_seen_by_the_state():
    pending = [{"type": "creating", "resource": {"urn": "urn:pulumi:lab3::vcubev::lab:index:Machine::lab3-web-1"}}]
    ((where, told),) = broken(WHOLE, pending_operations=pending)
    assert where == "the state" and "creating of lab3-web-1" in told
    assert [where for where, _ in broken(WHOLE[:3])] == ["web-1"], "made, but never set up"
    assert [where for where, _ in broken(WHOLE[:2])] == ["web-1"], "not made at all"
    extra = [*WHOLE, resource(HOST, "lab3-web-2"), resource(COMMAND, "lab3-web-2-install")]
    assert [where for where, _ in broken(extra)] == ["web-2"], "not removed"
    doomed = resource("lab:index:Machine", "lab3-web-1", delete=True)
    assert [where for where, _ in broken([*WHOLE, doomed])] == ["the state"]


def test_an_installation_that_was_broken_off_is_seen_on_the_machine():
    def change(facts):
        facts["web-1"]["bundles"] = {"host": 1795000000.0}
        facts["db-1"]["bundles"] = {}

    told = list(half_installed(seen(change), {"web-1": {"host"}, "db-1": {"host"}}))
    assert [(one.kind, one.where) for one in told] == [("half-run", "db-1"), ("half-run", "web-1")]
    assert told[1].since.startswith("2026-")


# What machines tell


@pytest.fixture
def examine():
    return load("examine", "machine")


def test_systemd_s_word_for_each_process_that_takes_hosts_in_is_told(examine, monkeypatch):
    shown = "Id=vcubev-hosts@tcp.service\nSubState=running\n\nId=vcubev-hosts@udp.service\nSubState=failed\n"
    monkeypatch.setattr(examine, "printed", lambda *command: shown)
    assert examine.doors() == {"vcubev-hosts@tcp": "running", "vcubev-hosts@udp": "failed"}
    monkeypatch.setattr(examine, "printed", lambda *command: "")
    assert examine.doors() == {}, "a host has none"


def test_an_echo_request_is_as_long_as_it_says_and_sums_up_right(examine):
    packet = examine.echo_request(4321, 1452)
    assert len(packet) == 1452 - 20, "less the IP header, which the kernel adds"
    total = sum(int.from_bytes(packet[at : at + 2], "big") for at in range(0, len(packet), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    assert total == 0xFFFF


def test_of_what_comes_back_only_answers_to_our_own_question_count(examine):
    ip, sizes = bytes([0x45]) + bytes(19), (84, 1452)

    def came(kind, code, whose=7, size=84):
        return examine.answered(ip + struct.pack("!BBHHH", kind, code, 0, whose, size), 7, sizes)

    assert came(0, 0) == {84} and came(0, 0, size=1452) == {1452}
    assert came(0, 0, whose=8) == came(3, 4) == came(8, 0) == set()
    assert came(3, 13, whose=0) == {84, 1452}, "a hub that is not fit is there all the same"


def test_birds_sessions_are_read(examine):
    # BIRD 2.0.12 with bird.conf's `timeformat protocol iso long`.
    told = """BIRD 2.0.12 ready.
Name       Proto      Table      State  Since         Info
link2      BGP        ---        up     2026-11-24 17:34:33  Established
link3      BGP        ---        start  2026-11-24 17:34:34  Connect       Socket: No route to host
link4      BGP        ---        down   2026-11-24 17:34:34
hosts_kernel4 Kernel     hosts4     up     2026-11-24 17:34:33
"""
    assert examine.PROTOCOL.findall(told) == [
        ("2", "up", "Established"),
        ("3", "start", "Connect       Socket: No route to host"),
        ("4", "down", ""),
    ]


# The command


@pytest.fixture
def typed(monkeypatch):
    monkeypatch.setattr(stacks.Stack, "exists", lambda self: True)

    def run(troubles, *arguments):
        monkeypatch.setattr(doctor_command, "_troubles", lambda stack: (troubles, ["web-1"]))
        return CliRunner().invoke(cli.app, ["doctor", "lab3", *arguments])

    return run


def test_the_exit_code_says_whether_there_is_trouble(typed, monkeypatch):
    trouble = Trouble("clock", "web-1", "told", "why", ("vcubev x",))
    assert typed([]).exit_code == 0
    assert typed([trouble]).exit_code == 3
    told = json.loads(typed([trouble], "--json").stdout)
    assert told["well"] is False and told["troubles"][0]["cures"] == ["vcubev x"]
    monkeypatch.setattr(stacks.Stack, "exists", lambda self: False)
    assert typed([]).exit_code == 1


@pytest.mark.parametrize("device", ["hosts-udp", "hosts-udp2", "hosts-udp8", "hosts-tcp"])
def test_every_device_of_hosts_is_the_overlays_own(device):
    assert OWN_DEVICES.fullmatch(device), "its routes would be called strange"
