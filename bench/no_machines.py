"""Plugins that make nothing and answer at once, for bench/program: the engine's and the program's own cost is left.

`lab` has made every network, firewall and machine that it is asked for, `command` has run every command. Keys and
certificates are real: the `tls` plugin is the one that every stack uses. For who wants to see an `up` at work,
BENCH_SECONDS is how long each machine and each command takes, and BENCH_FAILS names the command that fails.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
import time
from dataclasses import replace
from typing import Any

from pulumi.provider.experimental import server

from engine.orphan import end_with_engine
from engine.standins import command, serve
from engine.standins.properties import Failure, Properties, to_property
from lab import provider, resources
from lab.resources import Identity, Kind, Outputs

VERSION = "0.1.0"
SECONDS, FAILS = float(os.environ.get("BENCH_SECONDS", 0)), os.environ.get("BENCH_FAILS")


def digest(of: str) -> str:
    return hashlib.sha256(of.encode()).hexdigest()


class CommandProvider(command.CommandProvider):
    """Each command has printed a host key."""

    async def _run(self, urn: str, resource_type: str, state: Properties, commands: tuple[str, ...]) -> Properties:
        await asyncio.sleep(SECONDS)
        if FAILS and urn.endswith(f"::{FAILS}"):
            raise Failure("nobody answers at 198.18.0.9:22\nafter 60 tries")
        key = f"ssh-ed25519 {digest(urn)}"
        return state | {"stdout": to_property(key), "stderr": to_property("")}


def _address(name: str, network: str = "198.18") -> str:
    number = int(digest(name)[:6], 16)
    return f"{network}.{number // 254 % 256}.{number % 254 + 1}"


def _outputs(kind: Kind, of: Identity, made: str) -> Outputs:
    public = made.endswith("public")
    known: Outputs = {
        "operator_address": "198.19.255.0",
        "public_prefix": "198.18.0.0/24",
        "instance_id": made,
        "public_address": _address(of.name) if public else "",
        "private_address": _address(of.name, "172.30"),
        "running": True,
    }
    return {name: known[name] for name in kind.outputs}


def _without_machines(kind: Kind) -> Kind:
    def create(of: Identity, values: dict[str, Any]) -> tuple[str, Outputs]:
        time.sleep(SECONDS)
        made = f"i-{digest(of.name)[:8]}-{'public' if values.get('public') else 'private'}"
        return made, _outputs(kind, of, made)

    def read(of: Identity, made: str) -> Outputs:
        return _outputs(kind, of, made)

    def update(of: Identity, made: str, values: dict[str, Any]) -> Outputs:
        return _outputs(kind, of, made)

    nothing = lambda *_: None  # noqa: E731
    return replace(kind, check=nothing, create=create, read=read, update=update, delete=nothing)


def main(name: str) -> None:
    if name == "command":
        serve.PROVIDERS["command"] = ("pulumi-command", "bench.no_machines", "CommandProvider")
        serve.main("command")
        return
    end_with_engine()
    provider.require = lambda: None  # root, systemd-nspawn and so on
    resources.KINDS.update({token: _without_machines(kind) for token, kind in resources.KINDS.items()})
    server.main(sys.argv[1:], VERSION, provider.Provider())
