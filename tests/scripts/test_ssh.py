"""`vcubev ssh`, `ssh-config` and `inventory` with OpenSSH's own client, against SSH servers on loopback."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import asyncssh
import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from scripts.cli import __main__ as cli
from scripts.cli import ssh as access
from scripts.cli import stack as stacks
from scripts.cli.inventory import Access, Inventory, Member
from scripts.cli.stack import ROOT

pytestmark = pytest.mark.skipif(not shutil.which("ssh"), reason="OpenSSH's client is not installed")
KEYS = {name: asyncssh.generate_private_key("ssh-ed25519") for name in ("oregon/a", "web-1", "db-1", "login", "other")}


def public(name):
    return KEYS[name].export_public_key().decode().strip()


class Server(asyncssh.SSHServer):
    """A machine: takes the stack's login, and forwards as a hub."""

    def __init__(self, seen):
        self._seen = seen

    def connection_made(self, connection):
        self._seen.append(connection.get_extra_info("sockname")[1])

    def connection_requested(self, host, port, *origin):
        return True


async def answer(process):
    process.stdout.write(f"{process.command}\n")
    process.exit(7)


@pytest.fixture(scope="module", autouse=True)
def hung_up():
    """OpenSSH ends its client at a proxy by SIGHUP, which programs ignore that were begun by nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture(scope="module")
def machines():
    """name -> port of a machine that runs, and what ports were connected to."""
    loop, seen, ports, servers = asyncio.new_event_loop(), [], {}, []
    keys = asyncssh.import_authorized_keys(public("login"))

    async def start():
        for name in ("oregon/a", "web-1", "db-1"):
            acceptor = await asyncssh.create_server(
                lambda: Server(seen), "127.0.0.1", 0, server_host_keys=[KEYS[name]], authorized_client_keys=keys,
                process_factory=answer,
            )  # fmt: skip
            servers.append(acceptor)
            ports[name] = acceptor.get_port()

    async def stop():
        for server in servers:
            server.close()
            await server.wait_closed()

    loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield ports, seen
    asyncio.run_coroutine_threadsafe(stop(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


def access_to(name, ports, gateway="", key=None):
    return Access("127.0.0.1", public(key or name), gateway, ports[name])


def inventory(ports, **changed):
    members = {
        "oregon/a": Member("oregon/a", "oregon", "10.100.0.1", "fd::1", access_to("oregon/a", ports)),
        "web-1": Member("web-1", "oregon", "10.100.1.1", "fd::1:1", access_to("web-1", ports), "web"),
        "db-1": Member("db-1", "oregon", "10.100.2.1", "fd::2:1", access_to("db-1", ports, "oregon/a"), "db", True),
        **changed,
    }
    hosts = {name: member for name, member in members.items() if member.role}
    key = KEYS["login"].export_private_key().decode()
    return Inventory({"oregon/a": members["oregon/a"]}, hosts, "vcubev", key)


@pytest.fixture
def known(machines):
    return inventory(machines[0])


def run(known, name, *command, way=None):
    member = access.find(known, "lab", name)
    return access.run(known, "lab", member, way or access.usual(member.ssh), command, False)


def test_a_command_runs_and_its_exit_code_comes_back(known, capfd):
    assert run(known, "web-1", "uptime | cat") == 7
    assert capfd.readouterr().out == "uptime | cat\n"


def test_several_words_arrive_as_they_are(known, capfd):
    run(known, "web-1", "echo", "a b", "$HOME")
    assert capfd.readouterr().out == "echo 'a b' '$HOME'\n"


def test_a_private_host_is_reached_through_its_hub(known, machines, capfd):
    ports, seen = machines
    seen.clear()
    assert run(known, "db-1", "id") == 7
    assert seen == [ports["oregon/a"], ports["db-1"]]


@pytest.mark.parametrize("wrong", ["web-1", "oregon/a"])
def test_another_machine_in_its_place_is_not_spoken_to(machines, wrong, capfd):
    ports = machines[0]
    member = inventory(ports).hosts.get(wrong) or inventory(ports).hubs[wrong]
    changed = Member(wrong, "oregon", member.ipv4, member.ipv6, access_to(wrong, ports, key="other"), member.role)
    name = "db-1" if wrong == "oregon/a" else wrong
    assert run(inventory(ports, **{wrong: changed}), name, "id") == access.NO_CONNECTION
    assert "HOST IDENTIFICATION HAS CHANGED" in capfd.readouterr().err


def test_no_key_stays_on_disk_even_if_the_command_is_ended(known, monkeypatch, tmp_path, capfd):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    run(known, "web-1", "id")
    assert not list(tmp_path.iterdir())
    program = f"""
import sys; sys.path.insert(0, {str(ROOT)!r})
from scripts.cli import ssh
from scripts.cli.inventory import Access, Inventory, Member
access = Access("127.0.0.1", "ssh-ed25519 AAAA", "", int(sys.argv[1]))
member = Member("web-1", "oregon", "10.100.1.1", "fd::1", access, "web")
known = Inventory({{}}, {{"web-1": member}}, "vcubev", "KEY")
sys.exit(ssh.run(known, "lab", member, ssh.usual(member.ssh), [], False))
"""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        child = subprocess.Popen([sys.executable, "-c", program, str(silent.getsockname()[1])])
        connection, _ = silent.accept()
        (made,) = tmp_path.iterdir()
        assert made.stat().st_mode & 0o777 == 0o700 and (made / "key").stat().st_mode & 0o777 == 0o600
        child.send_signal(signal.SIGTERM)
        assert child.wait(10) != 0 and not list(tmp_path.iterdir())
        connection.close()


def test_no_key_stays_on_disk_if_the_end_comes_before_ssh_is_there(known, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))

    def begin(arguments):
        assert list(tmp_path.glob("*/key"))
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    monkeypatch.setattr(access.subprocess, "Popen", begin)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended:
        run(known, "web-1", "id")
    assert ended.value.code == 128 + signal.SIGTERM and not list(tmp_path.iterdir())
    assert signal.getsignal(signal.SIGTERM) is before


def test_where_the_hub_beside_it_is_dead_the_way_is_over_the_overlay(machines):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = {**machines[0], "dead": taken.getsockname()[1]}
    dead = Member("oregon/a", "oregon", "10.100.0.1", "fd::1", Access("127.0.0.1", public("other"), "", ports["dead"]))
    alive = Member("paris/a", "paris", "10.100.0.2", "fd::2", access_to("oregon/a", ports))
    known = inventory(ports)
    known = Inventory({"oregon/a": dead, "paris/a": alive}, known.hosts, known.user, known.private_key)
    way = asyncio.run(access.open_way(known, known.hosts["db-1"]))
    assert (way.address, way.through) == ("10.100.2.1", "paris/a")
    known.hubs.pop("paris/a")
    with pytest.raises(access.NotReached, match="db-1 cannot be reached"):
        asyncio.run(access.open_way(known, known.hosts["db-1"]))


@pytest.fixture
def typed(known, monkeypatch, tmp_path):
    """Commands on a stack that is up, in a home of their own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(stacks.Stack, "exists", lambda self: True)
    monkeypatch.setattr(stacks.Stack, "outputs", lambda self: {"hubs": {}})
    monkeypatch.setattr(Inventory, "of", classmethod(lambda cls, outputs: known))
    return lambda *arguments: CliRunner().invoke(cli.app, arguments)


def test_one_s_own_ssh_takes_the_configuration(typed, tmp_path):
    told = typed("ssh-config", "lab")
    assert told.exit_code == 0 and told.stdout == f'Include "{tmp_path}/.ssh/vcubev-lab/config"\n'
    own = tmp_path / "own"
    own.write_text(told.stdout)
    done = subprocess.run(["ssh", "-F", own, "lab-db-1", "uptime"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (7, "uptime\n"), done.stderr
    key = tmp_path / ".ssh" / "vcubev-lab" / "key"
    assert key.stat().st_mode & 0o777 == 0o600 and key.parent.stat().st_mode & 0o777 == 0o700


def test_files_of_somebody_else_are_not_written_over(typed, tmp_path):
    (tmp_path / "config").write_text("Host mine\n")
    assert typed("ssh-config", "lab", "--directory", str(tmp_path)).exit_code == 2
    assert (tmp_path / "config").read_text() == "Host mine\n" and not (tmp_path / "key").exists()


def test_ansible_s_inventory_names_every_machine_in_its_groups_and_holds_no_secret(typed, tmp_path):
    assert typed("inventory", "lab").exit_code == 2, "there is no login yet"
    typed("ssh-config", "lab")
    data = json.loads(typed("inventory", "lab", "--list").stdout)
    assert data["site_oregon"]["hosts"] == ["db-1", "oregon-a", "web-1"] and data["role_web"]["hosts"] == ["web-1"]
    assert data["private"]["hosts"] == ["db-1"] and data["hubs"]["hosts"] == ["oregon-a"]
    assert json.loads(typed("inventory", "lab", "--host", "db-1").stdout) == data["_meta"]["hostvars"]["db-1"]
    text = typed("inventory", "lab").stdout
    assert YAML(typ="safe").load(text)["all"]["hosts"]["db-1"] == data["_meta"]["hostvars"]["db-1"]
    assert "PRIVATE" not in text
    # As Ansible calls it.
    words = data["_meta"]["hostvars"]["db-1"]["ansible_ssh_common_args"].replace('"', "").split()
    host = data["_meta"]["hostvars"]["db-1"]["ansible_host"]
    done = subprocess.run(["ssh", *words, "-o", "User=vcubev", host, "id"], capture_output=True, text=True)
    assert done.stdout == "id\n", done.stderr


def test_a_machine_that_is_not_there_is_told_with_those_that_are(typed):
    told = typed("ssh", "web-9")
    assert told.exit_code == 2 and "web-1" in told.stderr
    assert typed("ssh", "web-1", "--via", "web-1").exit_code == 2


def test_what_comes_after_the_dashes_is_the_command(typed, monkeypatch):
    seen = []
    monkeypatch.setattr(access, "run", lambda *arguments: seen.append(arguments[-2:]) or 7)
    assert typed("ssh", "web-1", "--stack", "lab", "--", "ls", "-l", "--all").exit_code == 7
    assert seen == [(["ls", "-l", "--all"], False)]
