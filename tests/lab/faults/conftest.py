"""One mesh for all faults: each is undone before the next, and the figures of all are told at the end."""

from collections.abc import Iterator

import pytest

from tests.lab.faults.world import World, lab3

STACK = "faults"
told: list[str] = []


@pytest.fixture(scope="package")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The larger lab, up."""
    tree = lab3(tmp_path_factory.mktemp("faults"), STACK)
    with tree.standing():
        yield World(tree)


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
