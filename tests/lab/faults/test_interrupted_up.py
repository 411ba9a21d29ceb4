"""`up` breaks off at any place, or runs twice at once; what it made is whole in the end."""

import os
import re
import signal
import subprocess

import pytest

from tests.lab.worktree import WorkTree

pytestmark = pytest.mark.lab
STACK = "interrupted"
# After how many finished steps each run is broken off, and how. Each goes on where the one before it was, so the places
# lie all over the work; 0: before the first.
PLACES = (0, 2, 6, 10, 14)
SIGNALS = (signal.SIGKILL, signal.SIGINT)
STEP = re.compile(r" (created|updated|deleted|replaced|read) \(")
REFUSAL = re.compile("lock|another update|conflict", re.IGNORECASE)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Two sites with a hub and two hosts each, not up."""
    tree = WorkTree(tmp_path_factory.mktemp("interrupted"), STACK)
    tree.lab("sweep")  # of a run that was killed
    try:
        yield tree
    finally:
        tree.clean()


def start(tree):
    return subprocess.Popen(
        ["./scripts/up", tree.stack],
        cwd=tree.tree, env=tree.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, start_new_session=True,
    )  # fmt: skip


def break_off(tree, steps, how):
    """Send a signal to an `up`, as a terminal does, when it has done some steps; return how many, and what it said."""
    running = start(tree)
    done, said = 0, []
    for line in running.stdout:
        said.append(line)
        done += bool(STEP.search(line))
        if (done >= steps and any("pdating (" in line for line in said)) or running.poll() is not None:
            break
    if running.poll() is None:
        os.killpg(running.pid, how)
    rest, _ = running.communicate(timeout=60)
    return done, "".join(said) + rest


def whole(tree):
    """Assert that an `up` makes all, and leaves nothing to do."""
    done = tree.up()
    assert done.returncode == 0, f"{done.stdout[-6000:]}{done.stderr[-2000:]}"
    assert tree.preview() == {}


def test_an_up_that_is_interrupted_or_killed_at_any_place_can_be_run_again(small):
    for steps in PLACES:
        for how in SIGNALS:
            done, said = break_off(small, steps, how)
            print(f"{how.name} after {done} steps")
            assert "Traceback" not in said, said
    whole(small)


def test_of_two_ups_at_once_at_most_one_goes_on_and_the_other_says_why_not(small):
    both = [start(small), start(small)]
    ended = [(up.communicate(timeout=120)[0], up.returncode) for up in both]
    refused = [said for said, code in ended if code]
    assert refused, "both went on"
    assert all(REFUSAL.search(said) and "Traceback" not in said for said in refused), refused
