"""How `vcubev status` asks: everyone in their own time, whatever is down; and the command itself."""

import asyncio
import json
import signal
import subprocess
import sys
import time

import jsonschema
import pytest
from typer.testing import CliRunner

from scripts.cli import __main__ as cli
from scripts.cli import gather, status_command
from scripts.cli.inventory import Inventory
from scripts.cli.reach import Unreachable
from scripts.cli.snapshot import UP
from scripts.cli.stack import ROOT
from tests.scripts.seen_stack import SCHEMA, TOPOLOGY, host_state, hub_state, inventory, of, path


class Machines:
    """In the place of SSH: some answer, some never, some drop the line."""

    def __init__(self, inventory):
        self.connections, self.asked, self.opened, self.dead, self.mute = {}, [], [], set(), set()

    async def __aexit__(self, *reason):
        pass

    async def connect_to(self, member, seconds, over_overlay):
        if member.name in self.dead:
            await asyncio.sleep(seconds)
            raise Unreachable(f"no answer within {seconds:g} s")
        if (gateway := member.ssh.gateway) and gateway not in self.connections and not self.connections:
            raise Unreachable("its gateway is not reachable")
        self.connections[member.name] = member
        self.opened.append(member.name)

    def forget(self, name):
        self.connections.pop(name, None)

    async def run(self, name, command, seconds):
        self.asked.append((name, command))
        if name in self.mute:
            await asyncio.sleep(seconds)
            raise TimeoutError
        if "uname" in command:
            return "6.18.44\nOpenVPN 2.6.14 x\n[]\n"
        state = hub_state(name) if "/" in name else host_state(path("oregon/a"), path("paris/a"))
        return json.dumps(state) + "\n2\n[]\n"


@pytest.fixture
def machines(monkeypatch):
    made = []

    def observer(known):
        made.append(Machines(known))
        return made[-1]

    monkeypatch.setattr(gather, "Observer", observer)
    return made


def look(machines, patience, dead=(), mute=(), **options):
    async def once():
        async with gather.Gatherer("lab3", inventory(), TOPOLOGY, patience) as gatherer:
            machines[-1].dead, machines[-1].mute = set(dead), set(mute)
            return await gatherer.once(**options)

    began = time.monotonic()
    return asyncio.run(once()), time.monotonic() - began


def test_with_half_the_mesh_down_one_looks_for_no_longer_than_the_slowest_may_take(machines):
    dead, mute = {"oregon/a", "paris/a", "web-3"}, {"tokyo/a", "web-1"}
    found, seconds = look(machines, gather.Patience(0.3, 0.3, 5), dead, mute)
    assert seconds < 1.5
    assert {t.member for t in found.unseen} == dead | mute
    assert of(found, "db-1").state == UP, "it is private and its gateway is dead: by another hub"


def test_whatever_happens_a_look_ends(machines):
    found, seconds = look(machines, gather.Patience(60, 60, 0.4), {"oregon/a"}, {"web-1"})
    assert seconds < 2
    told = {t.member: t.why for t in found.unseen}
    assert told["oregon/a"] == told["web-1"] == "no answer within 0.4 s"


def test_a_machine_that_comes_back_is_seen_again_and_asked_anew_what_it_is(machines):
    async def follow():
        async with gather.Gatherer("lab3", inventory(), TOPOLOGY, gather.Patience(0.2, 0.2, 2)) as gatherer:
            observer = machines[-1]
            await gatherer.once()
            following = asyncio.create_task(gatherer.follow(0.05))
            observer.mute = {"oregon/b"}
            await asyncio.sleep(0.6)
            lost = gatherer.snapshot()
            assert observer.opened.count("oregon/b") > 1, "the line is dead: another must be opened"
            observer.asked.clear()
            observer.mute = set()
            await asyncio.sleep(0.6)
            following.cancel()
            return lost, gatherer.snapshot(), observer.asked

    lost, back, asked = asyncio.run(follow())
    assert of(lost, "oregon/b").state != UP and of(back, "oregon/b").state == UP
    assert any(name == "oregon/b" and "uname" in command for name, command in asked)
    assert not any(name == "oregon/a" and "uname" in command for name, command in asked), "once is enough"


# The command


@pytest.fixture
def command(monkeypatch, machines):
    monkeypatch.setattr(status_command, "inventory_of", lambda name: (cli.Stack("lab3"), inventory()))
    return lambda *arguments: CliRunner().invoke(cli.app, ["status", "lab3", *arguments])


def test_for_programs_it_prints_the_form_and_nothing_else(command):
    told = command("--json")
    assert told.exit_code == 0, told.output
    jsonschema.validate(json.loads(told.stdout), json.loads(SCHEMA.read_text()))


def test_not_well_is_exit_code_3_and_people_read_why(command, monkeypatch):
    async def nobody(*_, **__):
        raise Unreachable("no route to host")

    monkeypatch.setattr(Machines, "connect_to", nobody)
    told = command()
    assert told.exit_code == 3 and "Not seen" in told.stdout


def test_hosts_cannot_be_made_to_ping_each_other_all_the_time(command):
    assert command("--watch", "--between-hosts").exit_code == 2


WATCHER = """
import asyncio, signal, sys
# Where the tests run in a shell's background, it is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.insert(0, ".")
from tests.scripts.test_gathering import Machines, inventory
from scripts.cli import __main__ as cli, gather, status_command
gather.Observer = Machines
status_command.inventory_of = lambda name: (cli.Stack("lab3"), inventory())
sys.argv[1:] = ["status", "lab3", "--watch", "--every", "0.5", *sys.argv[1:]]
sys.exit(cli.main())
"""


@pytest.mark.parametrize("form", ["--json", "--no-json"])
def test_ctrl_c_ends_a_watch_well(form):
    options = [form] if form == "--json" else []
    watcher = subprocess.Popen(
        [sys.executable, "-c", WATCHER, *options], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        first = watcher.stdout.readline() if options else ""
        time.sleep(0 if options else 6)
        time.sleep(1.2)
        watcher.send_signal(signal.SIGINT)
        rest, problem = watcher.communicate(timeout=20)
    finally:
        watcher.kill()
    assert watcher.returncode == 0, problem
    assert "Traceback" not in problem
    if options:
        lines = [first, *rest.splitlines()]
        assert len(lines) >= 2 and all(json.loads(line)["stack"] == "lab3" for line in lines)
    else:
        assert "All is well." in rest


def test_the_inventory_of_a_stack_is_enough(monkeypatch, machines):
    """Where the stack file has mistakes or is not there, the sites' clouds are all that is missing."""

    async def once():
        async with gather.Gatherer("s", Inventory(inventory().hubs, {}, "", "")) as gatherer:
            return await gatherer.once()

    found = asyncio.run(once())
    assert found.well and {site.cloud for site in found.sites} == {""}
