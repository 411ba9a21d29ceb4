"""What a user sees of a real engine's run on a terminal, and what of it is nowhere to be found."""

import io
import json
import os
import pty
import re
import select
import signal
import time

import pytest
from rich.console import Console

from scripts.cli.progress import following
from tests.engine.recorded import DOWN, STACK, follow, listened, prepared
from tests.lab import keys

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
UP = "from scripts.cli.stack import Stack; stack = Stack('kept'); stack.prepare(); stack.up()"
LONGEST_SECONDS = 120


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("progress"))


def on_terminal(tree, program, cache, when=lambda text: False, **more):
    """Run a Python program on a terminal of its own, and press Ctrl-C once when the screen says something.

    Returns:
        Its exit code, and all that the screen ever said.
    """
    environment = {**tree._shell, "TERM": "xterm", "COLUMNS": "100", "XDG_CACHE_HOME": str(cache), **more}
    pid, screen = pty.fork()
    if pid == 0:
        os.chdir(tree.tree)
        os.execvpe("python3", ["python3", "-c", program], environment)
    said, pressed, deadline = "", False, time.monotonic() + LONGEST_SECONDS
    try:
        while time.monotonic() < deadline:
            if not select.select([screen], [], [], 1)[0]:
                continue
            try:
                said += ESCAPE.sub("", os.read(screen, 65536).decode(errors="replace"))
            except OSError:  # the terminal's other end is closed
                break
            if not pressed and when(said):
                pressed = bool(os.write(screen, b"\x03"))
    finally:
        if time.monotonic() >= deadline:
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        os.close(screen)
    return os.waitstatus_to_exitcode(status), said.replace("\r\n", "\n")


def locks(tree):
    return list((tree.backend / "backend" / ".pulumi" / "locks").rglob("*.json"))


def test_a_failure_is_told_in_full_after_one_line_for_each_machine(tree, tmp_path):
    before = tree.file.read_text()
    code, said = on_terminal(tree, UP, tmp_path, BENCH_SECONDS="0.5", BENCH_FAILS=f"{STACK}-db-1-install")
    assert code == 1, said[-2000:]
    last = said[said.rindex(" machine ") :]
    for name in ("oregon/a", "paris/a", "web-1", "web-2", "db-2"):
        assert re.search(rf"^ {name} .*\d/\d", last, re.MULTILINE), last
    assert re.search(r"^ db-1 +failed: install", last, re.MULTILINE), last
    assert "db-1: error: nobody answers at 198.18.0.9:22\nafter 60 tries\n" in last
    assert "booting, first contact" in said
    assert "Resources:" not in said, "the engine's own lines would stand between"
    assert tree.file.read_text() == before, "a stack's settings are the user's"


def test_ctrl_c_lets_the_engine_finish_the_machines_it_makes_and_a_second_run_goes_on(tmp_path):
    tree = prepared(tmp_path / "empty")

    def press(said):
        return re.search(r"^ db-1 .* creating machine", said, re.MULTILINE)

    code, said = on_terminal(tree, UP, tmp_path, press, BENCH_SECONDS="3")
    assert code not in (0, None) and "what is being made is finished" in said, said[-2000:]
    made = [resource["urn"] for resource in tree.state()["deployment"]["resources"]]
    assert any(urn.endswith("$lab:index:Machine::kept-db-1") for urn in made), "it was under way; nobody knows of it"
    assert locks(tree) == [], "the engine was killed instead of ended"
    exported = json.loads(tree.pulumi("stack", "export").stdout)["deployment"]
    assert not exported.get("pending_operations"), "a machine may have been made that nobody knows of"
    code, said = on_terminal(tree, UP, tmp_path)
    assert code == 0, said[-2000:]
    assert " done " in said[said.rindex(" machine ") :]


def test_what_the_engine_tells_holds_no_key_and_nothing_of_it_is_left(tree, tmp_path, monkeypatch):
    """All inputs and outputs go through it: of a run that changes nothing, and of those that take away and make all."""
    monkeypatch.setattr(following, "cache_file", lambda: tmp_path / "cache" / "durations.json")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    secrets = keys.of_state(tree.state())
    assert len(secrets) > 20
    heard, screen = listened(monkeypatch), Console(file=io.StringIO(), force_terminal=True, width=100)
    follow(tree, screen)
    unchanged = len(heard)
    follow(tree, screen, DOWN)
    follow(tree, screen)
    told = {f"event {number}": text.encode() for number, (_, text) in enumerate(heard)}
    assert unchanged > 300 and "[secret]" in "".join(text for _, text in heard)
    shown = {"screen": screen.file.getvalue().encode(), "cache": (tmp_path / "cache" / "durations.json").read_bytes()}
    # The last run's keys are others.
    of_both = [*secrets.values(), *keys.of_state(tree.state()).values()]
    assert keys.found_in(told | shown, of_both) == set()
    assert keys.found_in({"state": str(tree.state()).encode()}, of_both), "this search finds nothing"
    assert [entry.name for entry in tmp_path.iterdir()] == ["cache"], "a file of events lies about"


def test_in_a_pipe_the_engines_own_lines_are_all_there_is(tree, tmp_path):
    done = tree.in_shell("python3", "-c", UP)
    assert done.returncode == 0 and "Updating (kept):" in done.stdout and "unchanged" in done.stdout
    assert "machine " not in done.stdout and "\x1b" not in done.stdout
