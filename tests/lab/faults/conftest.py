"""One mesh for all faults: each is undone before the next, and the figures of all are told at the end."""

import fcntl
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.faults.world import World, lab3

STACK = "faults"
LOCK = Path("/run/vcubev-faults.lock")
told: list[str] = []


@pytest.fixture(scope="package")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The larger lab, up."""
    if os.geteuid() != 0:
        pytest.skip("makes machines: needs root")
    # Free when its holder dies; without it, a second run would sweep away the first one's machines.
    lock = LOCK.open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pytest.fail(f"another run of these tests has stack {STACK}: {LOCK} is held. Wait for its end.")
    tree = lab3(tmp_path_factory.mktemp("faults"), STACK)
    tree.lab("sweep")  # of a run that was killed
    # What is asked to end cleans up first.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        done = tree.up()
        assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
        yield World(tree)
    finally:
        tree.clean()
        lock.close()
        signal.signal(signal.SIGTERM, before)


@pytest.fixture
def world(mesh: World) -> Iterator[World]:
    """The mesh with every fault undone, whatever the test before left."""
    mesh.restore()
    yield mesh
    told.extend(mesh.told)
    mesh.told.clear()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if told:
        terminalreporter.section("faults")
        for line in told:
            terminalreporter.write_line(line)
