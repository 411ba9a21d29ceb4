"""One mesh for all attacks, and a machine of the attacker's beside one of its hubs."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.lab.attacks.attacker import Stranger
from tests.lab.attacks.forge import Forge
from tests.lab.faults.world import World
from tests.lab.worktree import WorkTree

STACK = "attacks"
SERVICES = {
    "db": {"on": "db", "ports": ["5432/tcp", "7007/udp"], "from": ["web"]},
    "web": {"on": "web", "ports": ["7007/udp"], "from": ["web", "db"]},
}
LOOK_SECONDS = 0.1
told: list[str] = []


class Processes:
    """What this computer's lists of processes show while something runs: those of all machines, too."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._end.wait(LOOK_SECONDS):
            for process in Path("/proc").glob("[0-9]*"):
                for file in ("cmdline", "environ"):
                    with suppress(OSError):
                        self.seen.add((process / file).read_bytes())

    def __enter__(self) -> "Processes":
        self._thread.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self._end.set()
        self._thread.join()


@pytest.fixture(scope="package")
def tree(tmp_path_factory: pytest.TempPathFactory) -> WorkTree:
    made = WorkTree(tmp_path_factory.mktemp("attacks"), STACK)
    made.edit(lambda config: config.update({"vcubev:services": SERVICES}))
    return made


@pytest.fixture(scope="package")
def processes() -> Processes:
    return Processes()


@pytest.fixture(scope="package")
def mesh(tree: WorkTree, processes: Processes) -> Iterator[World]:
    """Two sites, two hubs, four hosts, and a policy."""
    with ExitStack() as stack:
        with processes:
            stack.enter_context(tree.standing())
        yield World(tree)


@pytest.fixture
def world(mesh: World) -> World:
    """The mesh, well again after the attack before."""
    mesh.restore()
    return mesh


@pytest.fixture(scope="package")
def forge(mesh: World) -> Forge:
    return Forge(mesh.tree.state())


@pytest.fixture(scope="package")
def stranger(mesh: World) -> Iterator[Stranger]:
    """A machine of the attacker's beside the hub that is attacked, with nothing of the mesh's on it."""
    made = Stranger(mesh)
    try:
        yield made
    finally:
        made.remove()


@pytest.fixture
def tell() -> list[str]:
    """Lines for the end of the run."""
    return told


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if told:
        terminalreporter.section("attacks")
        for line in told:
            terminalreporter.write_line(line)
