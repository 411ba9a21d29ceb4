"""The one command line: help, examples, JSON, completion, and the old names."""

import io
import json
import os
import re
import shlex
import subprocess
from dataclasses import dataclass, field, replace

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from scripts.cli import __main__ as cli
from scripts.cli import stack as stacks
from scripts.cli import up_command
from scripts.cli.examples import EXAMPLES, PANELS
from scripts.cli.inventory import Access, Inventory, Member
from scripts.cli.reach import Findings
from scripts.cli.show import as_json, show
from scripts.cli.stack import ROOT

ROOT_COMMAND = typer.main.get_command(cli.app)


def leaves(command=ROOT_COMMAND, above=()):
    """Return "policy test" -> its click command."""
    if not hasattr(command, "commands"):
        return {" ".join(above): command}
    found = {}
    for name, inner in command.commands.items():
        found |= leaves(inner, (*above, name))
    return found


COMMANDS = leaves()


def run(*arguments):
    return CliRunner().invoke(cli.app, arguments)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command_has_examples(name):
    told = run(*name.split(), "--help")
    assert told.exit_code == 0 and "Examples:" in told.stdout and f"vcubev {name}" in told.stdout.replace("\n", " ")


@pytest.mark.parametrize("line", [line for lines in EXAMPLES.values() for line in lines])
def test_every_example_is_a_command_line_that_is_understood(line):
    words = shlex.split(line.replace('eval "$(./scripts/', "").replace(')"', ""))
    ends = [at for at, word in enumerate(words) if word in ("|", ">", ">>")]
    words = words[1 : min(ends, default=len(words))]
    command = ROOT_COMMAND
    while hasattr(command, "commands"):
        assert words[0] in command.commands, line
        command = command.commands[words.pop(0)]
    command.make_context("vcubev", words)


def test_every_command_stands_in_a_panel_and_nothing_else_does():
    listed = [name for names in PANELS.values() for name in names]
    assert sorted(listed) == sorted(ROOT_COMMAND.commands)


# What they print is somebody else's: a shell, a file, a machine's console, the image's path; or nothing.
NO_JSON = {"dashboard", "ssh"}
NO_JSON |= {f"lab {name}" for name in ("power-off", "start", "terminate", "cut", "restore", "drop", "block")}
NO_JSON |= {f"rotate {name}" for name in ("ca", "ssh", "host", "hub")}  # as many ups
NO_JSON |= {f"lab {name}" for name in ("mtu", "rebind", "exec", "console", "sweep", "image")}


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - NO_JSON))
def test_every_command_that_prints_can_print_for_programs(name):
    options = {option for parameter in COMMANDS[name].params for option in parameter.opts}
    assert "--json" in options


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_exit_codes_are_told_where_there_are_more_than_two(name):
    if name.startswith("lab ") or name == "env":
        return
    assert re.search(r"[Ee]xit code", COMMANDS[name].help or ""), name


def typed(*arguments, **environment):
    command = [ROOT / "scripts" / arguments[0], *arguments[1:]]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, timeout=120)
    return done.returncode, done.stdout


@pytest.mark.parametrize("name", ["policy", "lab"])
def test_an_old_name_is_the_new_command(name):
    assert typed(name, "--help") == typed("vcubev", name, "--help")


def test_a_shell_completes_commands_stacks_and_members():
    def completed(*words):
        line = {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
        return typed("vcubev", _VCUBEV_COMPLETE="complete_bash", **line)[1].split()

    assert completed("vcubev", "pol") == ["policy"]
    assert "lab3" in completed("vcubev", "status", "lab")
    assert "oregon/a" in completed("vcubev", "ssh", "ore")


def member(name, role=""):
    return Member(name, "oregon", "10.100.1.1", "fd::1", Access("192.0.2.1", "", ""), role, role == "db")


INVENTORY = Inventory({"oregon/a": member("oregon/a")}, {"db-1": member("db-1", "db"), "w": member("w", "web")}, "", "")


def test_a_look_at_one_host_is_a_look_at_another_one_of_each_site_too():
    hosts = {
        name: replace(member(name, "web"), site=site)
        for name, site in (("a", "oregon"), ("b", "oregon"), ("c", "paris"), ("d", "paris"), ("e", "oregon"))
    }
    whole = Inventory(INVENTORY.hubs, hosts, "", "")
    assert sorted(whole.around(["d"]).hosts) == ["a", "c", "d"] and whole.around(["d"]).hubs == INVENTORY.hubs
    many = {f"h{at}": replace(member(f"h{at}", "web"), site=f"s{at}") for at in range(1000)}
    assert len(Inventory({}, many, "", "").around(["h5"]).hosts) == 10


def test_up_for_programs_says_all_that_people_are_told():
    findings = Findings(
        {"db-1": "oregon/a"}, {"db-1": ["paris/a"], "w": []}, {("db-1", "w", "ipv4"): False}, {"db-1": ""}, {"w": "why"}
    )
    data = json.loads(json.dumps(as_json(INVENTORY, findings)))
    assert data["well"] is False and data["unreachable"] == {"w": "why"}
    one, other = data["hosts"]
    assert (one["name"], one["on_hub"], one["and_on"], one["login_through"]) == ("db-1", "oregon/a", ["paris/a"], None)
    assert (other["name"], other["on_hub"]) == ("w", None)
    assert data["reached"] == [{"from": "db-1", "to": "w", "family": "ipv4", "reached": False}]


def test_hosts_that_answer_no_pings_are_not_lost():
    outputs = {"hubs": {}, "hosts": {}, "login": {"user": "", "private_key": ""}}
    assert Inventory.of(outputs).pings and not Inventory.of({**outputs, "pings": False}).pings
    told = Console(record=True, width=100, file=io.StringIO())
    show(told, replace(INVENTORY, pings=False), Findings())
    text = told.export_text()
    assert "LOST" not in text and "policy.ping is false" in text


@dataclass
class Engine:
    """What was asked of the engine."""

    up: bool = True
    calls: list = field(default_factory=list)


@pytest.fixture
def engine(monkeypatch):
    asked = Engine()
    monkeypatch.setattr(stacks.Stack, "exists", lambda self: asked.up)
    monkeypatch.setattr(stacks.Stack, "prepare", lambda self: None)
    monkeypatch.setattr(stacks.Stack, "outputs", lambda self: {})
    monkeypatch.setattr(stacks.Stack, "last_changes", lambda self: {"create": 3})
    monkeypatch.setattr(stacks.Stack, "forget", lambda self: None)
    monkeypatch.setattr(
        stacks.Stack, "engine", lambda self, *command, quiet=False: asked.calls.append((command[0], quiet))
    )
    monkeypatch.setattr(Inventory, "of", classmethod(lambda cls, outputs: INVENTORY))

    async def look(inventory):
        return Findings({"db-1": "oregon/a", "w": "oregon/a"})

    monkeypatch.setattr(up_command, "look", look)
    monkeypatch.setattr(cli.lab, "prepare", lambda topology: None)
    monkeypatch.setattr(cli.lab, "nothing_left", lambda console, stack: console.print("Nothing") or True)
    return asked


@pytest.mark.parametrize("command, call", [("up", "up"), ("down", "destroy")])
def test_for_programs_there_is_json_and_nothing_else_on_standard_output(engine, command, call):
    told = run(command, "lab", "--json")
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["stack"] == "lab"
    assert engine.calls == [(call, True)], "the engine's own words would stand among the data"


def test_a_stack_that_is_not_up_is_exit_code_1(engine):
    engine.up = False
    assert run("status", "lab", "--json").exit_code == 1 and run("topology", "lab", "--live").exit_code == 1


def test_a_stack_can_be_named_once_for_a_whole_shell(monkeypatch):
    monkeypatch.setenv("VCUBEV_STACK", "lab3")
    told = run("policy", "explain", "ldap-1", "web-1", "icmp")
    assert told.exit_code == 0, told.output


def test_a_file_that_the_user_names_lies_where_the_user_is(tmp_path):
    command = [ROOT / "scripts" / "vcubev", "topology", "lab", "-o", "network.mmd"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and (tmp_path / "network.mmd").exists(), done.stderr
