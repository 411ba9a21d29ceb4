"""Three plain machines at one site, all open to each other: two ends, and one between them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence

from lab import machines, networks
from lab.records import Rule, load
from tests.lab.worktree import ROOT

PROJECT, STACK = "vcubev", "bench-rivals"
ENDS, MIDDLE = ("end-1", "end-2"), "middle"
NAMES = (*ENDS, MIDDLE)
OPEN = [
    Rule(protocol=p, ports=[] if p == "icmp" else ["1-65535"], sources=["0.0.0.0/0"]) for p in ("tcp", "udp", "icmp")
]
PREFIX, IMAGE = "172.30.9.0/24", "debian-12"
BOOT_SECONDS = 30


def make() -> None:
    """Boot them, and wait until a command runs in each."""
    network = networks.create_network(PROJECT, STACK, "site", PREFIX)
    firewall = networks.create_firewall(PROJECT, STACK, "open", network.id, OPEN)
    for name in NAMES:
        machines.create_machine(PROJECT, STACK, name, network.id, firewall, IMAGE, "#cloud-config\n{}\n", True)
    for name in NAMES:
        until(name, "systemctl is-system-running | grep -qE 'running|degraded'", BOOT_SECONDS)


def address(name: str) -> str:
    return str(load(PROJECT, STACK).machines[name].address)


def namespace(name: str) -> str:
    stack = load(PROJECT, STACK)
    return stack.namespace(stack.machines[name])


def run(name: str, script: str, content: bytes = b"") -> str:
    """Run a shell script in a machine; what it starts dies with the machine.

    Raises:
        RuntimeError: It failed.
    """
    done = _run(name, ("sh", "-euc", script), content)
    if done.returncode:
        raise RuntimeError(f"{name}: {script}: {done.stderr.decode()[-1000:]}")
    return done.stdout.decode()


def put(name: str, path: str, content: bytes, mode: str = "600") -> None:
    run(name, f"umask 077; mkdir -p $(dirname {path}); cat >{path}; chmod {mode} {path}", content)


def serve(name: str, unit: str, command: str) -> None:
    """Start a daemon in a machine."""
    run(name, f"systemd-run --quiet --unit={unit} -p Restart=on-failure -p RestartSec=300ms {command}")


def until(name: str, script: str, seconds: float) -> None:
    """Wait until a script is content.

    Raises:
        RuntimeError: It was not in time.
    """
    deadline = time.monotonic() + seconds
    while _run(name, ("sh", "-euc", script)).returncode:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{name}: not within {seconds} s: {script}")
        time.sleep(0.2)


def _run(name: str, command: Sequence[str], content: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    enter = [sys.executable, "-m", "lab.cli", "exec", "--stack", f"{PROJECT}.{STACK}", name, "--", *command]
    return subprocess.run(enter, cwd=ROOT, input=content, capture_output=True)
