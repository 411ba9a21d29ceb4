"""Rotation: each step is one `up`, what was broken off goes on, and nothing is taken away before it was made up for."""

import itertools
import json
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from components.model.keys import Keys
from components.model.stackfile import load_file
from scripts.cli import rotate, rotate_commands
from scripts.cli.__main__ import app
from scripts.cli.inventory import Inventory
from scripts.cli.show import lives_lines
from scripts.cli.stack import EngineFailed, Stack
from scripts.cli.terminal import BAD_INPUT, NOT_WELL
from tests.rendering import ROOT

SPREADING = [[1, 2], [2, 1], [2]]
OWN = [[2, 1], [2]]
SUBJECTS = {
    "ca": (rotate.AUTHORITY, SPREADING),
    "ssh": (rotate.LOGIN, SPREADING),
    "host web-1": (rotate.host("web-1"), OWN),
    "hub oregon/a": (rotate.hub("oregon/a"), OWN),
}


@pytest.mark.parametrize("name", SUBJECTS)
@pytest.mark.parametrize("done", range(4))
@pytest.mark.parametrize("written_only", [False, True])
def test_a_rotation_that_was_broken_off_goes_on_where_it_was(name, done, written_only):
    """`done` steps have come true; `written_only`: the next one stands in the stack file, its `up` has failed."""
    subject, course = SUBJECTS[name]
    states = [[1], *course]
    if done + written_only >= len(states):
        return
    applied, written = states[done], states[done + written_only]
    left = [list(step) for step in rotate.steps(subject, tuple(written), tuple(applied))]
    if done == 0 and not written_only:
        assert left == course
    elif done == len(course):
        assert left == [[generation + 1 for generation in step] for step in course], "it was whole: another one begins"
    else:
        assert left == course[done:]


@pytest.mark.parametrize("name", SUBJECTS)
def test_no_step_uses_what_is_not_accepted_or_drops_what_is_in_use(name):
    subject, _ = SUBJECTS[name]
    course = [(1,), *rotate.steps(subject, (1,), (1,))]
    for before, after in itertools.pairwise(course):
        if subject.spreads:
            assert after[0] in before, "others must accept it first"
        assert before[0] in after, "what is in use now is still so while machines change"
    assert course[-1] == (2,)


def test_a_stack_whose_keys_are_not_known_yet_begins(monkeypatch):
    assert list(rotate.steps(rotate.AUTHORITY, (1,), None)) == [(1, 2), (2, 1), (2,)]


FILE = """# The office's.
encryptionsalt: v1:abc=
config:
  vcubev:overlay: {ipv4: 10.100.0.0/16, ipv6: "fd5c:ab1e::/48"} # for life
  vcubev:sites:
    oregon: {id: 1, cloud: lab, region: us-west, hubs: {a: {id: 1}}, hosts: {web-1: {role: web, id: 1}}, underlay: x}
  vcubev:tests:
    # Tried before every `up`.
    - {from: web-1, to: db-1, port: 389/tcp, allowed: true}
    - {from: db-1, to: web-1, port: 389/tcp, allowed: false}
"""


def test_the_stack_file_keeps_its_comments_and_all_else(tmp_path):
    file = tmp_path / "Pulumi.office.yaml"
    file.write_text(FILE)
    rotate.write(file, rotate.host("web-1"), (2, 1))
    added = "  vcubev:keys:\n    hosts:\n      web-1: [2, 1]\n"
    assert file.read_text() == FILE + added
    rotate.write(file, rotate.AUTHORITY, (1, 2))
    rotate.write(file, rotate.host("web-1"), (2,))
    assert file.read_text() == FILE + added.replace("[2, 1]", "[2]") + "    authority: [1, 2]\n"
    assert not list(tmp_path.glob("*.new"))


def test_what_rotation_writes_the_program_reads(tmp_path):
    file = tmp_path / "Pulumi.lab.yaml"
    text = (ROOT / "stacks" / "Pulumi.lab.yaml").read_text()
    file.write_text("".join(line for line in text.splitlines(True) if "encryptionsalt" not in line))
    for subject, _ in SUBJECTS.values():
        rotate.write(file, subject, (3, 2))
    keys = load_file(file, ("lab",)).keys
    assert keys == Keys((3, 2), (3, 2), {"host.web-1": (3, 2), "hub.oregon.a": (3, 2)})
    assert {subject.of(keys) for subject, _ in SUBJECTS.values()} == {(3, 2)}
    assert rotate.host("web-2").of(keys) == (1,)


HUB = {"fit": 1, "sessions": 1, "peers": 1, "reasons": []}
PATH = {"alive": True, "fit": True, "stale": False}
HOST = {"claimed": True, "paths": {"1": PATH, "2": PATH}}
LACKING = [
    ({}, {}, ""),
    ({"fit": 0, "reasons": ["draining"]}, {}, "hub oregon/a has draining"),
    ({"sessions": 0}, {}, "0 of 1 links"),
    ({}, {"claimed": False}, "host web-1"),
    ({}, {"paths": {"1": PATH, "2": {**PATH, "stale": True}}}, "host web-1 has 1 good tunnels"),
    ({}, {"paths": {"1": PATH, "2": {**PATH, "alive": False}}}, "host web-1 has 1 good tunnels"),
]


@pytest.mark.parametrize("hub, host, lacking", LACKING)
def test_a_step_waits_until_every_host_has_both_tunnels_by_what_it_was_given_last(hub, host, lacking):
    hubs = {"oregon/a": {**HUB, **hub}, "paris/a": HUB}
    found = rotate.lacking(hubs, {"web-1": {**HOST, **host}})
    assert (lacking in "; ".join(found)) if lacking else not found
    assert rotate.lacking({"oregon/a": None}, {}) == ["hub oregon/a has no agent that answers"]


# The command


@pytest.fixture
def stack(tmp_path, monkeypatch):
    """The lab's stack file, an engine that only notes what it is told, and a network that is well."""
    text = (ROOT / "stacks" / "Pulumi.lab.yaml").read_text()
    file = tmp_path / "Pulumi.lab.yaml"
    file.write_text("".join(line for line in text.splitlines(True) if "encryptionsalt" not in line))
    ups, state = [], {"keys": {}, "settled": True, "fails_at": 0}

    def engine(self, *command, quiet=False):
        ups.append({subject.output: subject.of(self.topology().keys) for subject, _ in SUBJECTS.values()})
        if len(ups) == state["fails_at"]:
            raise EngineFailed("pulumi up failed")
        state["keys"] = {name: list(generations) for name, generations in ups[-1].items()}

    def outputs(self):
        return {"hubs": {"oregon/a": {}}, "hosts": {}, "login": {}, "keys": state["keys"]}

    async def settle(inventory, tell, seconds=0):
        if not state["settled"]:
            raise rotate.NotSettled("hub paris/a has cut off")

    monkeypatch.setattr(Stack, "file", file)
    monkeypatch.setattr(Stack, "exists", lambda self: True)
    for name, function in (("engine", engine), ("outputs", outputs), ("prepare", lambda self: None)):
        monkeypatch.setattr(Stack, name, function)
    monkeypatch.setattr(rotate_commands.lab, "prepare", lambda topology: None)
    monkeypatch.setattr(rotate, "settle", settle)
    monkeypatch.setattr(Inventory, "of", lambda outputs: None)
    stack = Stack("lab")
    return type("Made", (), {"ups": ups, "state": state, "file": file, "stack": stack})


def run(*arguments):
    return CliRunner().invoke(app, ["rotate", *arguments])


@pytest.mark.parametrize("name", SUBJECTS)
def test_each_step_is_one_up(stack, name):
    subject, course = SUBJECTS[name]
    assert run(*name.split()).exit_code == 0
    assert [list(up[subject.output]) for up in stack.ups] == course
    others = [
        up for up in stack.ups for other, generations in up.items() if other != subject.output and generations != (1,)
    ]
    assert not others, "one key at a time"


@pytest.mark.parametrize("fails_at", [1, 2, 3])
def test_a_failed_up_ends_it_and_the_next_run_does_the_rest(stack, fails_at):
    stack.state["fails_at"] = fails_at
    assert run("ca").exit_code != 0
    assert len(stack.ups) == fails_at
    stack.state["fails_at"] = 0
    assert run("ca").exit_code == 0
    assert [list(up["authority"]) for up in stack.ups] == [*SPREADING[:fails_at], *SPREADING[fails_at - 1 :]]
    assert "authority: [2]" in stack.file.read_text()


def test_nothing_is_changed_while_the_network_is_not_well(stack):
    stack.state["settled"] = False
    before = stack.file.read_text()
    assert run("ca").exit_code == NOT_WELL
    assert not stack.ups and stack.file.read_text() == before


def test_who_is_unknown_or_on_the_list_is_not_rotated(stack):
    for arguments in (("host", "web-9"), ("hub", "oregon/b"), ("host", "oregon/a")):
        assert run(*arguments).exit_code == BAD_INPUT
    stack.file.write_text(stack.file.read_text() + "  vcubev:revoked: [web-1]\n")
    assert run("host", "web-1").exit_code == BAD_INPUT, "its new certificate would be revoked, too"
    assert not stack.ups


def test_a_rotation_at_clouds_that_charge_asks_first(stack, monkeypatch):
    monkeypatch.setattr(Stack, "is_lab", lambda self: False)
    monkeypatch.setattr(rotate_commands, "check_credentials", lambda *arguments: None)
    assert CliRunner().invoke(app, ["rotate", "ca"], input="n\n").exit_code != 0 and not stack.ups
    assert run("ca", "--yes").exit_code == 0 and len(stack.ups) == 3


# What status says

NOW = datetime(2026, 5, 4, tzinfo=UTC)


def inventory(days, authority_days=3000, refused=()):
    lives = {
        "earliest": {"name": "host.web-1", "end": f"{NOW + timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}"},
        "authority": f"{NOW + timedelta(days=authority_days):%Y-%m-%dT%H:%M:%SZ}",
        "revocation_list": f"{NOW + timedelta(days=authority_days):%Y-%m-%dT%H:%M:%SZ}",
        "revoked": {"17": "host.web-9"},
        "refused": [f"host.{name}" for name in refused],
    }
    hosts = {
        n: {"site": "s", "ipv4": "", "ipv6": "", "ssh": {"address": "", "host_key": "", "gateway": ""}}
        for n in ("web-1", "web-2")
    }
    return Inventory.of({"hubs": {}, "hosts": hosts, "login": {"user": "u", "private_key": "k"}, "certificates": lives})


def test_status_warns_of_certificates_with_less_than_a_month_left():
    assert not any("yellow" in line for line in lives_lines(inventory(31), NOW))
    (told, cure) = lives_lines(inventory(29), NOW)
    assert "host.web-1's, [yellow]in 29 days" in told and "`up` renews" in cure
    (_, cure) = lives_lines(inventory(31, authority_days=20), NOW)
    assert "scripts/rotate ca" in cure


def test_a_host_that_is_refused_is_told_and_not_waited_for():
    seen = inventory(300, refused=["web-2"])
    assert set(seen.hosts) == {"web-1"} and seen.refused == ("web-2",)
    assert any("web-2 is refused by all hubs" in line for line in lives_lines(seen, NOW))


def test_a_stack_of_an_older_program_has_a_status_all_the_same():
    outputs = {"hubs": {}, "hosts": {}, "login": {"user": "u", "private_key": "k"}}
    assert lives_lines(Inventory.of(json.loads(json.dumps(outputs))), NOW) == []
