"""Calls stand-ins as the engine does (Check, then Diff or Create), and an SSH server to call them against."""

from __future__ import annotations

import asyncio
import os
import threading
from dataclasses import dataclass, field
from typing import Any

import asyncssh
import pytest
from pulumi.provider.experimental import provider as p

from engine.standins.command import CommandProvider
from engine.standins.properties import Failure, Properties, to_property
from engine.standins.tls import TlsProvider


class Shown:
    """Stands where the engine's log is, and keeps what a user would have seen."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def status(self, urn: str, text: str) -> None:
        self.lines.append(text)

    warn = status


class Plugin:
    """One stand-in, called in the engine's order."""

    def __init__(self, provider_class: type[p.Provider]) -> None:
        self.shown = Shown()
        self.provider = provider_class(self.shown)

    def check(self, resource_type: str, inputs: dict[str, Any]) -> tuple[Properties, list[str]]:
        news = {name: to_property(value) for name, value in inputs.items()}
        response = asyncio.run(self.provider.check(p.CheckRequest(_urn(resource_type), {}, news, b"")))
        return response.inputs, [failure.reason for failure in response.failures or []]

    async def acreate(self, resource_type: str, inputs: dict[str, Any], preview: bool = False) -> p.CreateResponse:
        news = {name: to_property(value) for name, value in inputs.items()}
        checked = await self.provider.check(p.CheckRequest(_urn(resource_type), {}, news, b""))
        if checked.failures:
            raise Failure(checked.failures[0].reason)
        return await self.provider.create(p.CreateRequest(_urn(resource_type), checked.inputs, 0, preview))

    def create(self, resource_type: str, preview: bool = False, **inputs: Any) -> Properties:
        return asyncio.run(self.acreate(resource_type, inputs, preview)).properties

    def diff(self, resource_type: str, state: Properties, **inputs: Any) -> p.DiffResponse:
        news, failures = self.check(resource_type, inputs)
        assert not failures
        return asyncio.run(self.provider.diff(p.DiffRequest(_urn(resource_type), "id", state, news, [])))

    def update(self, resource_type: str, state: Properties, preview: bool = False, **inputs: Any) -> Properties:
        news, _ = self.check(resource_type, inputs)
        request = p.UpdateRequest(_urn(resource_type), "id", state, news, 0, [], preview)
        return asyncio.run(self.provider.update(request)).properties

    def delete(self, resource_type: str, state: Properties) -> None:
        asyncio.run(self.provider.delete(p.DeleteRequest(_urn(resource_type), "id", state, 0)))

    def refresh(self, resource_type: str, state: Properties) -> Properties:
        return asyncio.run(self.provider.read(p.ReadRequest(_urn(resource_type), "id", state, {}))).properties


def _urn(resource_type: str) -> str:
    return f"urn:pulumi:stack::project::{resource_type}::one"


@pytest.fixture
def tls() -> Plugin:
    return Plugin(TlsProvider)


@pytest.fixture
def command() -> Plugin:
    return Plugin(CommandProvider)


@dataclass
class SshMachine:
    """An SSH server on loopback that runs what it is asked to, and remembers it."""

    host_key: str
    port: int = 0
    commands: list[str] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    tunnels: list[int] = field(default_factory=list)
    connections: int = 0
    takes_environment: bool = True

    def connection(self, **more: Any) -> dict[str, Any]:
        return {"host": "127.0.0.1", "port": self.port, "user": "someone", "password": "open sesame", **more}


def _server(machine: SshMachine) -> type[asyncssh.SSHServer]:
    class Server(asyncssh.SSHServer):
        def connection_made(self, conn: Any) -> None:
            machine.connections += 1

        def begin_auth(self, username: str) -> bool:
            return True

        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, username: str, password: str) -> bool:
            machine.logins.append(password)
            return password == "open sesame"

        def connection_requested(self, dest_host: str, dest_port: int, *_: Any) -> bool:
            machine.tunnels.append(dest_port)
            return True

    return Server


async def _run_command(machine: SshMachine, process: Any) -> None:
    machine.commands.append(process.command)
    asked = {key.decode(): value.decode() for key, value in process.channel.get_environment_bytes().items()}
    child = await asyncio.create_subprocess_shell(
        process.command, stdin=-1, stdout=-1, stderr=-1, env={**os.environ, **asked}
    )
    try:
        stdout, stderr = await child.communicate((await process.stdin.read()).encode())
    except asyncio.CancelledError:
        child.kill()
        await child.communicate()
        raise
    process.stdout.write(stdout.decode())
    process.stderr.write(stderr.decode())
    process.exit(child.returncode)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    """Start a fresh SSH machine in a thread of its own; `port` is set."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    key = asyncssh.generate_private_key("ssh-ed25519")
    made = SshMachine(key.export_public_key().decode())
    inherited = asyncssh.channel.SSHServerChannel._process_env_request

    def take_environment(channel: Any, packet: Any) -> bool:
        return inherited(channel, packet) and made.takes_environment

    monkeypatch.setattr(asyncssh.channel.SSHServerChannel, "_process_env_request", take_environment)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def listen() -> Any:
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[key],
            server_factory=_server(made),
            process_factory=lambda process: _run_command(made, process),
            sftp_factory=True,
        )

    server = asyncio.run_coroutine_threadsafe(listen(), loop).result(10)
    made.port = server.get_port()
    yield made

    async def stop() -> None:
        server.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        _, stuck = await asyncio.wait(left, timeout=3) if left else (None, None)
        assert not stuck, [t.get_stack() for t in stuck]

    asyncio.run_coroutine_threadsafe(stop(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
