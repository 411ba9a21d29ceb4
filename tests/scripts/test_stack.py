"""A stack's state and locks, without an engine."""

import os
import signal
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from scripts.cli import __main__ as cli
from scripts.cli import stack as stacks
from scripts.cli.engine_home import without_log
from scripts.cli.stack import Stack


def test_an_engine_that_was_killed_and_not_yet_noticed_holds_no_lock():
    child = subprocess.Popen([sys.executable, "-c", "open('/proc/self/comm', 'w').write('pulumi')"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie now
    assert not stacks._alive(child.pid), "an interrupted up could not be run again"
    child.wait()
    assert not stacks._alive(child.pid)


def test_a_stranger_with_a_dead_engines_number_holds_no_lock():
    assert not stacks._alive(os.getpid())


def test_a_running_engine_holds_its_lock():
    program = "import sys; open('/proc/self/comm', 'w').write('pulumi'); print(flush=True); sys.stdin.read()"
    engine = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    engine.stdout.readline()
    assert stacks._alive(engine.pid)
    engine.communicate()


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """No log-in, no passphrase, a state directory of the test's."""
    for name in ("BACKEND_URL", "CREDENTIALS_PATH", "CONFIG_PASSPHRASE", "CONFIG_PASSPHRASE_FILE"):
        monkeypatch.delenv(f"PULUMI_{name}", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "home"))
    return monkeypatch


def test_a_lab_stack_has_its_state_on_this_computer(alone, tmp_path):
    assert Stack("lab").settings() == {
        "PULUMI_BACKEND_URL": f"file://{tmp_path}/state/vcubev/backend?metadata=skip",
        "PULUMI_CONFIG_PASSPHRASE_FILE": f"{tmp_path}/state/vcubev/passphrase",
    }


def test_a_shell_takes_what_env_prints_whatever_is_in_it(alone, tmp_path):
    alone.setenv("XDG_STATE_HOME", str(tmp_path / "a b"))
    alone.setenv("VCUBEV_PATH", "/some where/bin")
    told = CliRunner().invoke(cli.app, ["env", "lab"]).stdout
    shell = ["sh", "-euc", f'{told}\nprintf "%s\n%s" "$PATH" "$PULUMI_BACKEND_URL"']
    shown = subprocess.run(shell, capture_output=True, text=True, env={"PATH": "/usr/bin:/own directory"})
    assert shown.stdout.splitlines() == [
        "/some where/bin:/usr/bin:/own directory",
        f"file://{tmp_path}/a b/vcubev/backend?metadata=skip",
    ], shown.stderr


def test_a_user_who_is_logged_in_keeps_their_own_back_end(alone, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "credentials.json").write_text('{"current": "https://api.pulumi.com"}')
    assert "PULUMI_BACKEND_URL" not in Stack("lab").settings()


def test_a_user_who_is_logged_in_is_so_in_a_shell_that_env_has_set_up(alone, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "credentials.json").write_text('{"current": "https://api.pulumi.com"}')
    for name, value in without_log().items():
        alone.setenv(name, value)
    assert "PULUMI_BACKEND_URL" not in Stack("lab").settings()


def test_a_users_own_passphrase_is_never_replaced(alone):
    alone.setenv("PULUMI_CONFIG_PASSPHRASE", "mine")
    assert "PULUMI_CONFIG_PASSPHRASE_FILE" not in Stack("lab").settings()


def test_the_passphrase_is_drawn_once_and_is_for_its_owner_only(tmp_path):
    file = tmp_path / "passphrase"
    stacks._write_once(file, "first")
    stacks._write_once(file, "second")
    assert file.read_text() == "first" and file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("salt", ["encryptionsalt: v1:a:b==\n", "encryptionsalt:\n  v1:a:b==\n", ""])
def test_a_stack_file_is_again_what_it_was_once_the_stack_is_gone(alone, tmp_path, salt):
    written = "# comment\nconfig:\n  vcubev:overlay: {}\n"
    alone.setattr(stacks, "STACKS", tmp_path)
    alone.setattr(Stack, "engine", lambda self, *command, quiet=False: None)
    alone.setattr(Stack, "settings", lambda self: {})
    (tmp_path / "Pulumi.x.yaml").write_text(salt + written)
    Stack("x").forget()
    assert (tmp_path / "Pulumi.x.yaml").read_text() == written


def test_a_secret_in_the_stack_file_can_still_be_read_when_the_stack_comes_back(alone, tmp_path):
    written = "encryptionsalt: v1:a:b==\nconfig:\n  vcubev:byo_private_key:\n    secure: v1:c:d==\n"
    alone.setattr(stacks, "STACKS", tmp_path)
    alone.setattr(Stack, "engine", lambda self, *command, quiet=False: None)
    alone.setattr(Stack, "settings", lambda self: {})
    (tmp_path / "Pulumi.x.yaml").write_text(written)
    Stack("x").forget()
    assert (tmp_path / "Pulumi.x.yaml").read_text() == written


def test_a_stack_file_from_another_computer_gets_a_passphrase_of_its_own(alone, tmp_path, monkeypatch):
    monkeypatch.setattr(stacks, "STACKS", tmp_path)
    shipped = (stacks.ROOT / "stacks" / "Pulumi.lab.yaml").read_text()
    plain = "".join(line for line in shipped.splitlines(True) if "encryptionsalt" not in line)
    stack = Stack("lab")
    stack.file.write_text(plain + "encryptionsalt: v1:of:another\n")
    monkeypatch.setattr(Stack, "engine", lambda *command, **options: None)
    stack.prepare()
    assert stack.file.read_text() == plain, "the engine would ask for the passphrase of a state that is not here"


SLOW_ENGINE = """#!/bin/bash
trap 'sleep 1; echo ended; exit 255' INT
echo begun
while :; do sleep 0.1; done
"""


def test_ctrl_c_waits_for_the_engine_to_end_what_it_has_begun(tmp_path):
    """Python's own way is to kill it after a quarter of a second: nobody would know of a machine half made."""
    (tmp_path / "pulumi").write_text(SLOW_ENGINE)
    (tmp_path / "pulumi").chmod(0o755)
    running = subprocess.Popen(
        [sys.executable, "-c", "from scripts.cli.stack import Stack; Stack('lab').engine('up')"],
        cwd=stacks.ROOT, env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}, text=True,
        start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert running.stdout.readline() == "begun\n"
    os.killpg(running.pid, signal.SIGINT)
    said, complained = running.communicate(timeout=20)
    assert said == "ended\n" and running.returncode == -signal.SIGINT, complained
