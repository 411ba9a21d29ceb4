"""A command that a shell has started in the background."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Prints the signals that a child of the command ignores, and whether the command has a session of its own.
PROGRAM = """
import os, subprocess
from engine.background import let_engine_end_its_own
let_engine_end_its_own()
ignored = subprocess.run(["grep", "SigIgn", "/proc/self/status"], capture_output=True, text=True).stdout.split()[1]
print(int(ignored, 16) >> 1 & 1, os.getsid(0) == os.getpid())
"""


def told(sigint, **started):
    command = [sys.executable, "-c", PROGRAM]
    preexec = lambda: signal.signal(signal.SIGINT, sigint)  # noqa: E731
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, preexec_fn=preexec, **started)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("started", [{}, {"process_group": 0}, {"start_new_session": True}])
def test_an_engine_started_in_the_background_does_not_wait_for_plugins_that_ignore_its_signal(started):
    ignored, own_session = told(signal.SIG_IGN, **started)
    assert ignored == "0"
    # A group of its own is already out of reach of the terminal's Ctrl-C.
    assert own_session == str("process_group" not in started)


def test_a_command_in_the_foreground_stays_where_ctrl_c_reaches_it():
    assert told(signal.SIG_DFL) == ["0", "False"]
