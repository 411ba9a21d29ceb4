"""A service at a shared address on real machines: the nearest server answers, and the next when it dies or fails."""

import json
import re
import time
from contextlib import ExitStack, contextmanager

import pytest

from scripts.cli.exposure import parse

pytestmark = [pytest.mark.lab, pytest.mark.alone]
CLIENT, SERVERS = "web-1", ("ldap-1", "ldap-2")  # one at the client's own site, one at another
NAME, PORT = "directory", 7010
SERVICE = {"on": "ldap", "ports": [f"{PORT}/tcp"], "from": ["web"], "anycast": True}
# Says who it is to whoever connects, by both families, until a file is there: then nobody listens.
SERVE = f"""
import os, select, socket, time
name, ipv4, ipv6 = os.environ["NAME"], os.environ["IPV4"], os.environ["IPV6"]
listening = []
while True:
    off = os.path.exists("/run/nearest-test-off")
    if off:
        while listening:
            listening.pop().close()
    if not off and not listening:
        try:
            listening.append(socket.create_server((ipv4, {PORT})))
            listening.append(socket.create_server((ipv6, {PORT}), family=socket.AF_INET6))
        except OSError:  # its addresses may come a moment after the machine
            while listening:
                listening.pop().close()
    if not listening:
        time.sleep(0.05)
        continue
    for ready in select.select(listening, [], [], 0.1)[0]:
        client, _ = ready.accept()
        client.sendall(name.encode())
        client.close()
"""
# Prints who answered, or which error there was, and after how many seconds.
ASK = """
import socket, sys, time
began = time.monotonic()
try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), 2) as talk:
        said = talk.recv(100).decode() or "nothing"
except OSError as problem:
    said = type(problem).__name__
print(said, time.monotonic() - began)
"""
UNITS = ("vcubev-nearest", "vcubev-steer")
MOST = {"vcubev-nearest": 1.8, "vcubev-steer": 1.6}  # systemd's exposure, at most
PROBE = """systemctl start vcubev-steer.socket
for unit in vcubev-nearest vcubev-steer; do
  exposure=$(systemd-analyze security --no-pager $unit.service |
    sed -n 's/.*xposure level for [^ ]*: \\([0-9.]*\\) .*/\\1/p')
  echo "$unit.service ${exposure:-10} $(systemctl show --property=User --value $unit.service)" \\
    "$(systemctl show --property=CapabilityBoundingSet --value $unit.service | tr ' ' ,)"
done"""
LEFT = """find /etc/vcubev/nearest /run/vcubev-nearest -type f 2>/dev/null; nft list tables | grep nearest
systemctl list-unit-files --no-legend 'vcubev-nearest*' 'vcubev-steer*'; ls /run/vcubev-steer 2>/dev/null; :"""


def up(world):
    done = world.tree.up()
    assert done.returncode == 0, f"{done.stdout[-6000:]}{done.stderr[-2000:]}"


def shared(world):
    """Return the role's shared addresses: those of a member with its id taken off."""
    server = world.hosts[SERVERS[0]]
    return re.sub(r"\.\d+$", ".0", server["ipv4"]), re.sub(r"::[0-9a-f]+$", "::", server["ipv6"])


def ask(world, address):
    said, seconds = world.run(CLIENT, f"python3 -c '{ASK}' {address} {PORT}").split()
    return said, float(seconds)


def answers(world, wanted):
    """Return what differs from what is wanted, at any of the shared addresses; [] if nothing does."""
    return [said for address in shared(world) if (said := ask(world, address)[0]) != wanted]


def told(world):
    """Return what the client's agent says; {} while it says nothing."""
    said = world.run(CLIENT, "cat /run/vcubev-nearest/state.json", check=False)
    return json.loads(said or "{}").get("services", {}).get(NAME, {})


@contextmanager
def serving(world):
    """Run a server on each of the role's hosts."""
    with ExitStack() as stack:
        for name in SERVERS:
            stack.callback(world.run, name, "systemctl stop nearest-test; rm -f /run/nearest-test-off", check=False)
            start(world, name)
        yield


def start(world, name):
    host = world.hosts[name]
    told_by = {"NAME": name, "IPV4": host["ipv4"], "IPV6": host["ipv6"]}
    settings = " ".join(f"--setenv={key}={value}" for key, value in told_by.items())
    command = f"systemd-run --quiet --collect --unit=nearest-test {settings}"
    program = "/run/nearest-test.py"
    world.run(name, f"cat >{program} <<'END'\n{SERVE}\nEND\n{command} /usr/bin/python3 -u {program}")


@pytest.fixture(scope="module")
def declared(mesh):
    """Declare the service and take it out again: both only add, or take away, what is the service's own."""
    mesh.restore()
    mesh.tree.edit(lambda config: config["vcubev:services"].update({NAME: SERVICE}))
    shown = mesh.tree.preview()
    assert set(shown) == {"create"}, shown
    assert all(NAME in name or name.endswith("-nearest") for name in shown["create"]), shown
    up(mesh)
    try:
        with serving(mesh):
            yield mesh
    finally:
        mesh.restore()
        mesh.tree.edit(lambda config: config["vcubev:services"].pop(NAME))
        shown = mesh.tree.preview()
        assert set(shown) == {"delete"}, shown
        up(mesh)
        for name in (CLIENT, *SERVERS):
            assert mesh.run(name, LEFT) == "", f"{name} has something of it left"


@pytest.fixture
def client(declared, world):
    """The mesh with every fault undone, and a server chosen."""
    for name in SERVERS:
        state = world.run(name, "rm -f /run/nearest-test-off; systemctl is-active nearest-test", check=False)
        if state.strip() != "active":  # its machine was without power
            start(world, name)
    world.until(lambda: len(told(world).get("healthy", ())) < len(SERVERS), 60, "not all servers are well")
    world.until(lambda: told(world)["server"] is None, 15, "none is used")
    return world


def used(world):
    by_address = {world.hosts[name]["ipv4"]: name for name in SERVERS}
    return by_address.get(told(world)["server"])


def other(name):
    return next(server for server in SERVERS if server != name)


def test_the_chosen_server_answers_at_the_shared_address_by_both_families_and_status_says_which(client):
    name = used(client)
    assert answers(client, name) == []
    done = client.tree.script("status", client.tree.stack, "--json")
    assert done.returncode == 0, done.stderr + done.stdout[-3000:]
    host = next(host for host in json.loads(done.stdout)["hosts"] if host["name"] == CLIENT)
    (nearest,) = host["nearest"]
    assert (nearest["service"], nearest["server"]) == (NAME, name) and set(nearest["healthy"]) == set(SERVERS)
    assert not [h for h in json.loads(done.stdout)["hosts"] if h["name"] in SERVERS and h["nearest"]]


def test_one_that_loses_power_is_left_within_moments(client):
    name = used(client)
    client.lab("power-off", name)
    began = time.monotonic()
    client.until(lambda: used(client) == name, 10, f"{name} is still used")
    seconds = time.monotonic() - began
    client.until(lambda: answers(client, other(name)), 5, "the other does not answer")
    client.told.append(f"nearest: a server without power is left after {seconds:.1f} s")
    assert told(client)["last_move"]["reason"] == "silent"
    # 1.2 s of silence, and then a busy computer.
    assert seconds < 5


def test_one_whose_service_has_ended_is_left_when_two_checks_have_failed(client):
    name = used(client)
    client.run(name, "touch /run/nearest-test-off")
    seconds = client.until(lambda: answers(client, other(name)), 15, "the other does not answer")
    client.told.append(f"nearest: a server whose service has ended is left after {seconds:.1f} s")
    assert told(client)["last_move"]["reason"] == "failing"


def test_with_no_server_clients_are_refused_at_once_and_one_that_comes_back_is_used(client):
    for name in SERVERS:
        client.run(name, "touch /run/nearest-test-off")
    # At first by the servers themselves.
    client.until(lambda: told(client)["server"] is not None, 20, "a server is used")
    assert answers(client, "ConnectionRefusedError") == []
    assert max(ask(client, address)[1] for address in shared(client)) < 0.5, "a hang"
    client.run(SERVERS[1], "rm /run/nearest-test-off")
    client.until(lambda: answers(client, SERVERS[1]), 20, "the one that is back does not answer")


def test_the_choice_outlives_its_agent_and_a_hub_that_dies_moves_nobody(client):
    name, moves = used(client), told(client)["moves"]
    client.kill(CLIENT, "vcubev-nearest.service")
    assert answers(client, name) == []
    # Of neither server: only the client's way changes.
    at = {client.hubs_of(server)[0] for server in SERVERS}
    own = next((hub for hub in client.hubs_of(CLIENT) if hub not in at), None)
    if own is not None:
        client.lab("power-off", own)
        time.sleep(5)
        assert answers(client, name) == []
        assert told(client)["moves"] == moves, "it was no server that died"


def test_the_agent_may_ping_and_the_rules_writer_may_write_rules_and_neither_is_root(client):
    exposures = parse(client.run(CLIENT, PROBE))
    client.told.append(f"nearest: exposure { ({unit: own.exposure for unit, own in exposures.items()}) }")
    assert set(exposures) == set(UNITS)
    assert exposures["vcubev-nearest"].rights == ("net_raw",) and exposures["vcubev-steer"].rights == ("net_admin",)
    assert {unit: own.user for unit, own in exposures.items()} == {unit: unit for unit in UNITS}
    assert not {unit: own.exposure for unit, own in exposures.items() if own.exposure > MOST[unit]}
