"""What a machine gives away: keys to whoever has an account on it, other machines' keys to whoever has it whole."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from lab.records import load
from tests.lab import keys
from tests.lab.attacks.attacker import HOSTS_UDP, HUB, PORT, Journal, record, root_of, underlay
from tests.lab.attacks.dialing import DECIDED, UP
from tests.lab.attacks.forge import SPARE_ADDRESS
from tests.lab.faults.world import PROJECT

pytestmark = pytest.mark.lab
PKI, CLOUD_INIT = "/etc/vcubev/pki", "var/lib/cloud/"
HOST_KEY = "/etc/ssh/ssh_host_ed25519_key"
OPEN = (f"{PKI}/certificate.pem", f"{PKI}/ca.pem")
CLOSED = (
    *(f"{PKI}/{name}" for name in ("key.pem", "tls-crypt-v2.key", "link.key")),
    HOST_KEY,
    "/var/lib/cloud/instance/user-data.txt",
    "/var/lib/cloud/seed/nocloud/user-data",
    "/run/credentials/vcubev-*/key.pem",
)
LOGS = """journalctl -q --no-pager -o export -a; cat /var/log/cloud-init*.log
for process in /proc/[0-9]*; do cat $process/cmdline $process/environ 2>/dev/null; done | tr '\\0' '\\n'"""
SPARE_BYTES = 4096


def members(world):
    return [*world.hubs, *world.hosts]


def resource(world, name):
    return f"{world.tree.stack}-{name.replace('/', '-')}"


@pytest.fixture(scope="module")
def secrets(mesh):
    """Every private key: those of the state, and those that machines have made for themselves."""
    found = keys.of_state(mesh.tree.state())
    for name in members(mesh):
        pem = Path(f"{root_of(mesh, name)}{HOST_KEY}").read_text()
        found[f"{name}'s host key"] = keys.of_pem(f"{name}'s host key", pem)
    return found


@pytest.mark.parametrize("user", ["nobody", "vcubev-tunnel"])
def test_no_other_user_of_a_machine_reads_its_keys(world, user):
    for name in members(world):
        files = [file for file in CLOSED if HUB in name or "link.key" not in file]
        # What runs the tunnels is handed its keys by systemd, each daemon its own.
        files = [file for file in files if user == "nobody" or "credentials" not in file]
        for kind, wanted, shown in (("closed", files, 0), ("open", OPEN, len(OPEN))):
            read = f"runuser -u {user} -- cat $file 2>/dev/null | head -c 1"
            count = world.run(name, f"for file in {' '.join(wanted)}; do {read}; done | wc -c")
            assert int(count) == shown, f"{name}: {kind} files to {user}"
        # Root sees all of them: they are where they were looked for.
        for file in files:
            assert world.run(name, f"cat {file} | head -c 1"), f"{name}: {file}"


def files_of(world, name):
    """Return all that lies on a machine's own disk and in its memory's directories: path -> bytes."""
    stack = load(PROJECT, world.tree.stack)
    found = {}
    for root, part in ((stack.machine_directory(record(world, name)) / "upper", "."), (root_of(world, name), "run")):
        for directory, _, names in os.walk(root / part):
            for file in names:
                path = Path(directory) / file
                with suppress(OSError):
                    if path.is_file() and not path.is_symlink():
                        found[str(path.relative_to(root))] = path.read_bytes()
    return found


def test_a_machine_holds_its_own_keys_and_no_other_machines(world, secrets):
    """So a host that falls into an attacker's hands gives away itself alone."""
    for name in members(world):
        own = resource(world, name)
        found = keys.found_in(files_of(world, name), secrets.values())
        assert ("etc/vcubev/pki/key.pem", f"{own}-key") in found, "the search would find nothing"
        hubs = {"hubs' tls-crypt-v2 key", "links' tls-crypt key"} if name in world.hubs else set()
        rightful = {f"{own}-key", f"{own}-key's tls-crypt-v2 key", f"{own}-seed", f"{name}'s host key", *hubs}
        assert {secret for _, secret in found} <= rightful, name
        # The key of the first contact came with user_data, for which ADR 3 has it that it is good for nothing else.
        assert all(place.startswith(CLOUD_INIT) for place, secret in found if secret == f"{own}-seed"), found


def test_no_key_is_in_the_clear_wherever_people_look(world, secrets, processes):
    tree = world.tree
    for words in (("preview", "--json"), ("preview", "--diff"), ("stack", "output"), ("stack", "history", "--json")):
        assert tree.pulumi(*words).returncode == 0
    places = {"the exported state": tree.pulumi("stack", "export").stdout.encode(), **tree.places()}
    places["all processes, while `up` ran"] = b"\n".join(processes.seen)
    for name in members(world):
        places[f"logs and processes of {name}"] = world.run(name, LOGS, check=False).encode()
    assert b"vcubev-hosts@" in places[f"logs and processes of {HUB}"] and b"openvpn" in b"".join(processes.seen)
    assert len(secrets) > 25 and len(places) > 100, "the search would find nothing"
    assert keys.found_in(places, secrets.values()) == set()


def test_user_data_has_the_key_of_the_first_contact_and_no_other(world, secrets):
    """A cloud serves it back to every process on the machine (ADR 3)."""
    served = {}
    for entry in world.tree.state()["deployment"]["resources"]:
        if entry["type"] == "lab:index:Machine":
            served[entry["urn"].rpartition("::")[2]] = json.dumps(entry["inputs"]["user_data"]).encode()
    assert len(served) == len(members(world))
    found = keys.found_in(served, secrets.values())
    assert found == {(name, f"{name}-seed") for name in served}
    for name in members(world):
        offered = world.run(name, "ssh-keyscan -t ecdsa,ed25519 127.0.0.1 2>/dev/null")
        assert "ssh-ed25519" in offered and "ecdsa" not in offered, f"{name} still answers with the first contact's key"


@contextmanager
def full_memory_disk(world, hub, limit):
    """Leave no room in /run, where a hub's OpenVPN keeps its temporary files."""
    # The kernel wants a little more than it says is in use; what is left then is filled to the brim.
    again = f"until mount -o remount,{limit[0]}=$used /run 2>/dev/null; do used=$((used + 1)); done"
    world.run(hub, f"used={limit[1]}; {again}")
    world.run(hub, "for n in $(seq 50); do touch /run/full$n || break; done 2>/dev/null", check=False)
    world.run(hub, "! head -c 1G /dev/zero >/run/full 2>/dev/null")
    try:
        yield
    finally:
        world.run(hub, "mount -o remount,size=64m,nr_inodes=100k /run; rm -f /run/full*")


@pytest.mark.parametrize("lacking", ["room", "files"])
def test_a_hub_with_no_room_for_temporary_files_connects_nobody_without_an_address(world, stranger, forge, lacking):
    room = ("size", "$(($(df --output=used -B1 /run | tail -1) + 4096))")
    limit = {"room": room, "files": ("nr_inodes", "$(df --output=iused /run | tail -1)")}[lacking]
    door = underlay(world, HUB), PORT
    journal = Journal(world, HUB, HOSTS_UDP)
    try:
        with full_memory_disk(world, HUB, limit):
            dial = stranger.dialer.dial(door, forge.rightful("host.late"))
            assert "AUTH_FAILED" in dial.until(DECIDED), dial.told()
            assert not dial.is_up and dial.pushed() is None
            journal.until({"room": "client-connect: .*I/O error", "files": "Could not create temporary file"}[lacking])
            # Those that are there go on, and the hub goes on looking after them.
            assert world.reaches("web-1", "db-2")
        dial = stranger.dialer.dial(door, forge.rightful("host.later"))
        assert UP in dial.until(DECIDED) and dial.pushed() == SPARE_ADDRESS
    finally:
        stranger.dialer.stop()
    world.settle()
