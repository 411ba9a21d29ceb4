"""What OpenSSH needs to reach a stack's machines: ways, pinned host keys, the login key."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.cli.inventory import Access, Inventory, Member

PROBE_SECONDS = 3
FIRST_LINE = "# Written by vcubev; the next `vcubev ssh-config` writes it anew."
# ssh's own for "could not connect".
NO_CONNECTION = 255


@dataclass(frozen=True)
class Way:
    """How to come to a machine."""

    address: str
    port: int
    through: str = ""  # a hub, "site/hub"; "" for directly

    def told(self) -> str:
        return f"{self.address} through hub {self.through}" if self.through else self.address


class NotReached(Exception):
    """No way to a machine answers; carries those that were tried."""


def alias(stack: str, member: str) -> str:
    """Return a machine's name for ssh: as clouds and lab call it."""
    return f"{stack}-{member.replace('/', '-')}"


def find(inventory: Inventory, stack: str, wanted: str) -> Member | None:
    """Return the machine that is meant by web-1, oregon/a, oregon-a or lab-oregon-a."""
    members = {**inventory.hubs, **inventory.hosts}
    names = {spelt: m for name, m in members.items() for spelt in (name, name.replace("/", "-"), alias(stack, name))}
    return names.get(wanted)


def usual(access: Access) -> Way:
    """Return the way on the underlay: directly, or for a private machine through the hub beside it."""
    return Way(access.address, access.port, access.gateway)


def ways(inventory: Inventory, member: Member) -> list[Way]:
    """Return all ways to a machine, the best first: on the underlay, then over the overlay through any hub."""
    first = usual(member.ssh)
    if member.name in inventory.hubs:
        return [first]
    hubs = sorted(inventory.hubs.values(), key=lambda hub: (hub.site == member.site, hub.name))
    return [first, *(Way(member.ipv4, member.ssh.port, hub.name) for hub in hubs)]


async def open_way(inventory: Inventory, member: Member) -> Way:
    """Return the best way whose first machine answers.

    Raises:
        NotReached: None does.
    """
    tried = ways(inventory, member)
    doors = [inventory.hubs[way.through].ssh if way.through else Access(way.address, "", "", way.port) for way in tried]
    answers = await asyncio.gather(*[_answers(door.address, door.port) for door in doors])
    for way, answered in zip(tried, answers, strict=True):
        if answered:
            return way
    raise NotReached(f"{member.name} cannot be reached: tried {', '.join(way.told() for way in tried)}")


async def _answers(address: str, port: int) -> bool:
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(address, port), PROBE_SECONDS)
    except (OSError, TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


def config(inventory: Inventory, stack: str, directory: Path, chosen: Mapping[str, Way] | None = None) -> str:
    """Return a configuration for ssh, of all machines.

    Args:
        directory: Where `key` and `known_hosts` are.
        chosen: Another way than the usual one, by machine.
    """
    blocks = [FIRST_LINE]
    members = [*inventory.hubs.values(), *inventory.hosts.values()]
    for member in members:
        way = (chosen or {}).get(member.name) or usual(member.ssh)
        name = alias(stack, member.name)
        lines = [f"Host {name}", f"HostName {way.address}", f"HostKeyAlias {name}"]
        lines += [f"Port {way.port}"] if way.port != 22 else []
        lines += [f"ProxyJump {alias(stack, way.through)}"] if way.through else []
        blocks.append("\n  ".join(lines))
    common = [
        f"Host {' '.join(alias(stack, member.name) for member in members)}",
        f"User {inventory.user}",
        f'IdentityFile "{directory / "key"}"',
        "IdentitiesOnly yes",
        "IdentityAgent none",
        f'UserKnownHostsFile "{directory / "known_hosts"}"',
        "GlobalKnownHostsFile /dev/null",
        "StrictHostKeyChecking yes",
        "HostKeyAlgorithms ssh-ed25519",
    ]
    return "\n\n".join([*blocks, "\n  ".join(common)]) + "\n"


def known_hosts(inventory: Inventory, stack: str) -> str:
    """Return the host keys that the stack's state pins."""
    members = [*inventory.hubs.values(), *inventory.hosts.values()]
    return "".join(f"{alias(stack, m.name)} {' '.join(m.ssh.host_key.split()[:2])}\n" for m in members)


def write(inventory: Inventory, stack: str, directory: Path, chosen: Mapping[str, Way] | None = None) -> Path:
    """Write configuration, host keys and login key, for their owner's eyes only; return the configuration's path."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    texts = {
        "key": inventory.private_key.rstrip("\n") + "\n",
        "known_hosts": known_hosts(inventory, stack),
        "config": config(inventory, stack, directory, chosen),
    }
    for name, text in texts.items():
        write_private(directory / name, text)
    return directory / "config"


def write_private(path: Path, text: str) -> None:
    """Write a file whole, readable by its owner only from its first byte."""
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    os.replace(draft, path)


def run(inventory: Inventory, stack: str, member: Member, way: Way, command: Sequence[str], tty: bool) -> int:
    """Run ssh and return its exit code, which is the command's; the key is on disk only meanwhile.

    Args:
        command: One word is for the machine's shell, as ssh takes it; several arrive as they are.
    """
    remote = list(command) if len(command) < 2 else [shlex.join(command)]
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    process: subprocess.Popen[bytes] | None = None

    def end(number: int, _: object) -> None:
        """Pass an end on, so that the key is taken away."""
        if process is None:
            sys.exit(128 + number)
        process.terminate()

    # Before there is a key on disk. The terminal sends an interrupt to both, and it is meant for the machine.
    previous = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        with tempfile.TemporaryDirectory(prefix="vcubev-ssh-", dir=runtime if os.path.isdir(runtime) else None) as made:
            file = write(inventory, stack, Path(made), {member.name: way})
            arguments = ["ssh", "-F", str(file), *(["-t"] if tty else []), alias(stack, member.name), *remote]
            process = subprocess.Popen(arguments)
            previous[signal.SIGINT] = signal.signal(signal.SIGINT, signal.SIG_IGN)
            code = process.wait()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code
