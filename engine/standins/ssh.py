"""SSH connections as the official `command` plugin makes them, on asyncssh.

Source: pulumi-command v1.2.1 provider/pkg/provider/remote/{connection,commandOutputs}.go, and
pulumi sdk/v3/go/common/util/retry/until.go for the pauses.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncssh

from .properties import Failure
from .running import Capture, Run

# The official pauses. The first four tries fall within half a second, which suits a machine that is just booting and
# refuses connections at once.
FIRST_PAUSE_SECONDS, PAUSE_GROWTH, LONGEST_PAUSE_SECONDS = 0.1, 1.5, 5.0
UNLIMITED = -1

Connection = dict[str, Any]  # the `connection` input in plain form, defaults filled in


class WrongHostKey(Failure):
    """The server's key is not the one given in `connection.hostKey`."""


@contextlib.asynccontextmanager
async def connect(connection: Connection, show: Callable[[str], None]) -> AsyncIterator[asyncssh.SSHClientConnection]:
    """Open a connection, through `connection.proxy` if given, and close it after use.

    Raises:
        WrongHostKey: at once.
        Failure: a key cannot be read (at once), or every try failed.
    """
    proxy = connection.get("proxy")
    async with contextlib.AsyncExitStack() as opened:
        tunnel = None
        if proxy:
            with _prefixed("proxy: "):
                tunnel = await _with_retry("Dial proxy", proxy, None, show)
            opened.push_async_callback(_close, tunnel)
            with _prefixed("proxy: "):
                client = await _with_retry("Dial from proxy", connection, tunnel, show)
        else:
            client = await _with_retry("Dial", connection, None, show)
        opened.push_async_callback(_close, client)
        yield client


async def _with_retry(message: str, connection: Connection, tunnel: Any, show: Callable[[str], None]) -> Any:
    limit = int(connection.get("dialErrorLimit", 10))
    options = await _options(connection)
    failed, pause = 0, FIRST_PAUSE_SECONDS
    while True:
        try:
            return await _dial(connection, options, tunnel)
        except asyncssh.HostKeyNotVerifiable:
            # The official plugin tries again, up to its limit. But this is another machine, or an attacker, and no
            # pause makes it the right one: cloud-init writes a seeded key before sshd starts.
            raise WrongHostKey(
                f"the host key of {connection['host']} is not the one in connection.hostKey; nothing was sent to it"
            ) from None
        except (OSError, asyncssh.Error, TimeoutError) as error:
            failed += 1
            if UNLIMITED < limit < failed:
                reason = str(error) or type(error).__name__
                raise Failure(f"after {failed - 1} failed attempts: {reason}") from None
            show(f"{message} {failed}/{'inf' if limit == UNLIMITED else limit} failed: retrying")
        await asyncio.sleep(pause)
        pause = min(pause * PAUSE_GROWTH, LONGEST_PAUSE_SECONDS)


async def _dial(connection: Connection, options: dict[str, Any], tunnel: Any) -> asyncssh.SSHClientConnection:
    # The official limit covers the TCP connection only; ours also the SSH handshake, since a machine that accepts and
    # then says nothing would be waited for without end.
    limit = float(connection.get("perDialTimeout", 15)) or None
    async with asyncio.timeout(limit):
        return await asyncssh.connect(
            connection["host"], int(connection.get("port", 22)), tunnel=tunnel or (), login_timeout=0, **options
        )


async def _options(connection: Connection) -> dict[str, Any]:
    """Return asyncssh's options: nothing is read from this user's ~/.ssh."""
    options: dict[str, Any] = {
        "username": connection.get("user", "root"),
        "known_hosts": None,  # accept any key, as official, unless one is given
        "client_keys": await _client_keys(connection) or None,
        "agent_path": None,
        "config": None,
        "x509_trusted_certs": None,
    }
    if connection.get("password") is not None:
        options["password"] = connection["password"]
    if connection.get("hostKey") is not None:
        try:
            pinned = asyncssh.import_public_key(connection["hostKey"])
        except (asyncssh.KeyImportError, ValueError) as error:
            raise Failure(f"failed to parse host key: {error}") from None
        options["known_hosts"] = ([pinned], [], [])  # also restricts the algorithms to this key's
    return options


async def _client_keys(connection: Connection) -> list[Any]:
    found: list[Any] = []
    if connection.get("privateKey") is not None:
        # A passphrase on a key in OpenSSH's own format needs the package bcrypt, which this project does not install.
        try:
            found.append(asyncssh.import_private_key(connection["privateKey"], connection.get("privateKeyPassword")))
        except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError, ValueError) as error:
            raise Failure(f"connection.privateKey: {error}") from None
    agent_path = connection.get("agentSocketPath") or os.environ.get("SSH_AUTH_SOCK")
    if agent_path:
        try:
            agent = await asyncssh.connect_agent(agent_path)
            found += await agent.get_keys()
        except (OSError, ValueError, asyncssh.Error) as error:
            raise Failure(f"dial {agent_path}: {error}") from None
    return found


@contextlib.contextmanager
def _prefixed(prefix: str) -> Any:
    try:
        yield
    except WrongHostKey as error:
        raise WrongHostKey(prefix + str(error)) from None
    except Failure as error:
        raise Failure(prefix + str(error)) from None


async def _close(client: asyncssh.SSHClientConnection) -> None:
    client.close()
    with contextlib.suppress(TimeoutError, OSError, asyncssh.Error):
        async with asyncio.timeout(1):  # a dead peer must not hold up what is done
            await client.wait_closed()


class _Session(asyncssh.SSHClientSession):
    """Feeds one command's output to a Capture, and asks for its environment before the command starts."""

    def __init__(self, run: Run, capture: Capture) -> None:
        self._run = run
        self._capture = capture
        self.status: int | None = None
        self.signal: str | None = None
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, chan: Any) -> None:
        inherited: Callable[..., Awaitable[bool | None]] = chan._make_request

        # asyncssh sends the environment without asking whether it was taken, so a server without AcceptEnv would run
        # the command without it. The official plugin waits for the answer; this is the one place to do the same.
        async def make_request(request: bytes, *args: bytes) -> bool | None:
            if request == b"exec":
                await self._set_environment(inherited)
            return await inherited(request, *args)

        chan._make_request = make_request

    async def _set_environment(self, make_request: Callable[..., Awaitable[bool | None]]) -> None:
        why = "This only works if your SSH server is configured to accept these variables via AcceptEnv"
        for name, value in self._run.environment.items():
            if not await make_request(b"env", _ssh_string(name), _ssh_string(value)):
                raise Failure(f'could not set environment variable "{name}": ssh: setenv failed. {why}')
        for name, value in self._run.previous.items():
            if not await make_request(b"env", _ssh_string(name), _ssh_string(value)):
                self._run.warn(f"Unable to set '{name}'. {why}")

    def data_received(self, data: Any, datatype: Any) -> None:
        self._capture.feed("stderr" if datatype == asyncssh.EXTENDED_DATA_STDERR else "stdout", data)

    def exit_status_received(self, status: int) -> None:
        self.status = status

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        self.signal = signal

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(exc)


def _ssh_string(text: str) -> bytes:
    encoded = text.encode()
    return len(encoded).to_bytes(4, "big") + encoded


async def run_remote(connection: Connection, run: Run) -> Capture:
    """Run one command over SSH to its end.

    Raises:
        Failure: no connection, the environment was refused, or the command did not exit with status 0.
    """
    capture = Capture(run)
    async with connect(connection, run.show) as client:
        channel, session = await _start(client, run, capture)
        try:
            channel.write(run.stdin.encode())
            channel.write_eof()
            lost = await session.closed
        except asyncio.CancelledError:
            # Without a terminal a closed connection leaves the command running on the other side.
            with contextlib.suppress(OSError, asyncssh.Error):
                channel.terminate()
                await asyncio.sleep(0)  # let the signal out before the connection closes
            raise
    capture.finish()
    if session.signal is not None:
        raise capture.failure(f"Process exited with status 1 from signal {session.signal}")
    if session.status is None:
        raise capture.failure(f"wait: remote command exited without exit status or exit signal ({lost or 'closed'})")
    if session.status != 0:
        raise capture.failure(f"Process exited with status {session.status}")
    return capture


async def _start(client: asyncssh.SSHClientConnection, run: Run, capture: Capture) -> tuple[Any, _Session]:
    starting = asyncio.ensure_future(client.create_session(lambda: _Session(run, capture), run.command, encoding=None))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:  # the server may have started the command already
        with contextlib.suppress(OSError, asyncssh.Error, Failure, TimeoutError):
            (await asyncio.wait_for(starting, 1))[0].terminate()
        raise
    except asyncssh.Error as error:
        raise capture.failure(str(error)) from None
