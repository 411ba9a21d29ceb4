"""The `command` stand-in runs commands as the official plugin does, here against an SSH server on loopback."""

from __future__ import annotations

import asyncio
import os
import socket
import time

import asyncssh
import pytest
from pulumi.provider.experimental.provider import PropertyDiffKind

from engine.standins.properties import Failure, is_unknown, plain, to_property, unknown

LOCAL = "command:local:Command"
REMOTE = "command:remote:Command"


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def test_stdin_and_environment_reach_the_remote_process(command, machine):
    made = command.create(
        REMOTE,
        connection=machine.connection(hostKey=machine.host_key),
        create='cat; echo "$GREETING"; echo aside >&2',
        stdin="from stdin\n",
        environment={"GREETING": "hällo"},
    )
    assert (plain(made["stdout"]), plain(made["stderr"])) == ("from stdin\nhällo", "aside")
    assert "aside" in command.shown.lines and "hällo" in command.shown.lines


def test_a_wrong_host_key_stops_before_anything_is_sent(command, machine):
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    started = time.monotonic()
    with pytest.raises(Failure, match=r"host key of 127\.0\.0\.1 is not the one"):
        command.create(REMOTE, connection=machine.connection(hostKey=other, dialErrorLimit=60), create="true")
    assert (machine.logins, machine.commands) == ([], []), "a password went to a machine that is not ours"
    assert machine.connections == 1 and time.monotonic() - started < 5, "sixty tries would take minutes"


def test_without_a_host_key_any_server_is_taken_as_in_the_official_plugin(command, machine):
    assert plain(command.create(REMOTE, connection=machine.connection(), create="echo hi")["stdout"]) == "hi"


def test_a_machine_that_is_still_booting_is_tried_again(command, machine):
    port = free_port()

    async def scenario():
        connection = machine.connection(port=port)
        making = asyncio.create_task(command.acreate(REMOTE, {"connection": connection, "create": "echo up"}))
        while not command.shown.lines:
            await asyncio.sleep(0.01)

        async def forward(reader, writer):
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", machine.port)
            await asyncio.gather(_pipe(reader, far_writer), _pipe(far_reader, writer))

        async with await asyncio.start_server(forward, "127.0.0.1", port):
            return await making

    assert plain(asyncio.run(scenario()).properties["stdout"]) == "up"
    assert command.shown.lines[0] == "Dial 1/10 failed: retrying"


async def _pipe(reader, writer):
    while chunk := await reader.read(4096):
        writer.write(chunk)
    writer.close()


def test_tries_end_at_the_limit(command, machine):
    with pytest.raises(Failure, match="after 2 failed attempts"):
        command.create(REMOTE, connection=machine.connection(port=free_port(), dialErrorLimit=2), create="true")
    assert command.shown.lines == ["Dial 1/2 failed: retrying", "Dial 2/2 failed: retrying"]


def test_a_server_that_says_nothing_is_left_after_the_dial_timeout(command, machine):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        connection = machine.connection(port=silent.getsockname()[1], perDialTimeout=1, dialErrorLimit=0)
        with pytest.raises(Failure, match="after 0 failed attempts"):
            command.create(REMOTE, connection=connection, create="true")


def test_a_private_machine_is_reached_through_its_hub(command, machine):
    proxy = machine.connection(hostKey=machine.host_key)
    connection = machine.connection(hostKey=machine.host_key, proxy=proxy)
    assert plain(command.create(REMOTE, connection=connection, create="echo inside")["stdout"]) == "inside"
    assert machine.tunnels == [machine.port] and machine.connections == 2


def test_the_hubs_own_host_key_is_verified_too(command, machine):
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    connection = machine.connection(proxy=machine.connection(hostKey=other))
    with pytest.raises(Failure, match="proxy: the host key"):
        command.create(REMOTE, connection=connection, create="true")
    assert machine.logins == []


def test_a_login_with_an_encrypted_private_key_and_a_wrong_passphrase_fails_at_once(command, machine):
    key = asyncssh.generate_private_key("ssh-ed25519").export_private_key("pkcs8-pem", "right").decode()
    connection = machine.connection(privateKey=key, privateKeyPassword="wrong")
    with pytest.raises(Failure, match=r"connection\.privateKey"):
        command.create(REMOTE, connection=connection, create="true")
    assert machine.connections == 0


def test_a_failing_command_says_its_status_and_output_and_no_secret(command, machine):
    inputs = {
        "create": "cat; echo $TOKEN; echo went wrong >&2; exit 7",
        "stdin": "-----BEGIN KEY-----\nline-of-the-key\n",
        "environment": {"TOKEN": to_property("hidden-token", secret=True)},
    }
    for resource_type, more, first in (
        (REMOTE, {"connection": machine.connection()}, "Process exited with status 7"),
        (LOCAL, {}, "exit status 7"),
    ):
        with pytest.raises(Failure) as raised:
            command.create(resource_type, **inputs, **more)
        said = str(raised.value)
        assert said.startswith(f'{first}: running "cat; echo $TOKEN; ')
        assert "went wrong" in said
        for hidden in ("line-of-the-key", "hidden-token", "open sesame"):
            assert hidden not in said and hidden not in " ".join(command.shown.lines)


def test_a_secret_command_is_not_in_its_own_error(command):
    with pytest.raises(Failure) as raised:
        command.create(LOCAL, create=to_property("echo pass-phrase; exit 1", secret=True))
    assert "pass-phrase" not in str(raised.value).split(":\n")[0]


def test_a_server_that_takes_no_environment_fails_before_the_command_runs(command, machine):
    machine.takes_environment = False
    with pytest.raises(Failure, match='could not set environment variable "A"'):
        command.create(REMOTE, connection=machine.connection(), create="echo ran", environment={"A": "1"})
    assert machine.commands == []
    state = command.create(REMOTE, connection=machine.connection(), create="echo ran")
    updated = command.update(REMOTE, state, connection=machine.connection(), create="echo again")
    assert plain(updated["stdout"]) == "again", "the previous output is passed on only where that works"


def test_a_changed_trigger_replaces_and_changed_stdin_updates(command):
    inputs = {"create": "cat", "stdin": "one", "triggers": ["t", 1]}
    state = command.create(LOCAL, **inputs)
    assert command.diff(LOCAL, state, **inputs).changes is False
    update = command.diff(LOCAL, state, **{**inputs, "stdin": "two"})
    assert (update.changes, update.replaces) == (True, [])
    replace = command.diff(LOCAL, state, **{**inputs, "triggers": ["t", 2]})
    assert replace.replaces == ["triggers"]
    assert replace.detailed_diff["triggers[1]"].kind == PropertyDiffKind.UPDATE_REPLACE
    assert command.diff(LOCAL, state, **{**inputs, "triggers": [unknown(), 1]}).replaces == ["triggers"]


def test_a_changed_connection_updates_and_shows_none_of_it(command, machine):
    inputs = {"connection": machine.connection(), "create": "echo"}
    state = command.create(REMOTE, **inputs)
    found = command.diff(REMOTE, state, **{**inputs, "connection": machine.connection(password="other")})
    assert list(found.detailed_diff) == ["connection"] and found.replaces == []


def test_an_update_runs_update_or_else_create_and_delete_sees_the_last_output(command, tmp_path):
    state = command.create(LOCAL, create="echo made")
    state = command.update(LOCAL, state, create="echo again after $PULUMI_COMMAND_STDOUT")
    assert plain(state["stdout"]) == "again after made"
    gone = tmp_path / "gone"
    inputs = {"create": "exit 9", "update": "echo updated", "delete": f"echo $PULUMI_COMMAND_STDOUT > {gone}"}
    state = command.update(LOCAL, state, **inputs)
    command.delete(LOCAL, state)
    assert gone.read_text() == "updated\n"
    silent = command.update(LOCAL, state, create='echo "[$PULUMI_COMMAND_STDOUT]"', addPreviousOutputInEnv=False)
    assert plain(silent["stdout"]) == "[]"


def test_a_preview_runs_nothing_and_leaves_the_output_unknown(command, machine):
    made = command.create(REMOTE, preview=True, connection={"host": unknown()}, create="echo", stdin=unknown())
    assert is_unknown(made["stdout"]) and is_unknown(made["stdin"]) and plain(made["create"]) == "echo"
    state = command.create(LOCAL, create="echo one")
    assert is_unknown(command.update(LOCAL, state, preview=True, create="echo two")["stdout"])


def test_a_secret_input_is_a_secret_output_and_a_connection_always_is(command, machine):
    inputs = {"connection": machine.connection(), "stdin": to_property("hidden", secret=True), "create": "cat"}
    made = command.create(REMOTE, **inputs)
    assert {name for name, value in made.items() if value.is_secret} == {"connection", "stdin"}
    connection = made["connection"].value
    assert connection["password"].is_secret


def test_defaults_are_written_to_the_inputs_as_the_official_check_does(command):
    checked, _ = command.check(REMOTE, {"connection": {"host": "h", "proxy": {"host": "p", "user": "u"}}})
    ours = {"port": 22, "dialErrorLimit": 10, "perDialTimeout": 15}
    assert plain(checked["connection"]) == {
        **ours,
        "host": "h",
        "user": "root",
        "proxy": {**ours, "host": "p", "user": "u"},
    }
    assert list(checked) == ["connection"]


def test_a_missing_host_or_an_unknown_field_is_refused(command):
    assert command.check(REMOTE, {"create": "true"})[1] == ["missing required field 'connection'"]
    assert command.check(REMOTE, {"connection": {"user": "u"}})[1] == ["missing required field 'host'"]
    assert command.check(LOCAL, {"crate": "true"})[1] == ["Unrecognized field 'crate'"]


@pytest.mark.parametrize(("logging", "shown"), [(None, {"a", "b"}), ("stderr", {"b"}), ("none", set())])
def test_only_the_chosen_output_is_shown(command, logging, shown):
    command.create(LOCAL, create="echo a; echo b >&2", **({"logging": logging} if logging else {}))
    assert set(command.shown.lines) == shown


def test_commands_run_side_by_side(command, machine):
    async def scenario():
        inputs = {"connection": machine.connection(), "create": "sleep 0.7; echo done"}
        await command.acreate(REMOTE, {**inputs, "create": "true"})  # loads asyncssh
        started = time.monotonic()
        made = await asyncio.gather(*(command.acreate(REMOTE, inputs) for _ in range(6)))
        return time.monotonic() - started, [plain(response.properties["stdout"]) for response in made]

    seconds, outputs = asyncio.run(scenario())
    assert outputs == ["done"] * 6
    assert seconds < 3, "one after the other takes 4.2 s and more"


def test_cancel_ends_a_running_command_and_refuses_the_next(command, tmp_path):
    async def scenario():
        making = asyncio.create_task(command.acreate(LOCAL, {"create": f"echo $$ > {tmp_path}/pid; sleep 60; true"}))
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            await asyncio.sleep(0.01)
        await command.provider.cancel()
        with pytest.raises(Failure, match="canceled"):
            await making
        with pytest.raises(Failure, match="canceled"):
            await command.acreate(LOCAL, {"create": "true"})

    started = time.monotonic()
    asyncio.run(scenario())
    assert time.monotonic() - started < 5
    pid = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        for _ in range(100):
            os.kill(pid, 0)
            time.sleep(0.02)


def test_cancel_ends_a_remote_command_too(command, machine, monkeypatch):
    signals = []
    monkeypatch.setattr(
        asyncssh.channel.SSHServerChannel,
        "_process_signal_request",
        lambda channel, packet: signals.append(packet.get_string()) or True,
    )

    async def scenario():
        making = asyncio.create_task(
            command.acreate(REMOTE, {"connection": machine.connection(), "create": "exec sleep 2"})
        )
        while not machine.commands:
            await asyncio.sleep(0.01)
        await command.provider.cancel()
        with pytest.raises(Failure, match="canceled"):
            await making

    asyncio.run(scenario())
    deadline = time.monotonic() + 5
    while not signals and time.monotonic() < deadline:
        time.sleep(0.01)
    assert signals == [b"TERM"], "a closed connection alone leaves the command running"
