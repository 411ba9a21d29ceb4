"""Times the main job through the commands that a user types, on a stack of its own."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tests.lab.worktree import WorkTree

STACK = "bench"
# What the project aims at on 2 cores, in seconds.
AIMS = {"up, two sites, six machines": 60, "one host more": 15, "no-op up": 5}
console = Console()


def seconds(work: Callable[[], object]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


def engine_up(tree: WorkTree) -> None:
    """The engine's part alone: without the look from inside that scripts/up ends with."""
    done = tree.pulumi("up", "--yes", "--skip-preview")
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)


def whole_up(tree: WorkTree) -> None:
    done = tree.up()
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)


def add_host(number: int) -> Callable[[dict], None]:
    host = {f"web-{number}": {"role": "web", "id": number}}
    return lambda config: config["vcubev:sites"]["paris"]["hosts"].update(host)


def one_round(figures: dict[str, list[float]]) -> None:
    """Make the stack, grow it, leave it alone, take it away."""
    with tempfile.TemporaryDirectory(prefix="vcubev-bench-") as directory:
        tree = WorkTree(Path(directory), STACK)
        tree.lab("sweep")
        try:
            note = lambda name, work: figures.setdefault(name, []).append(seconds(work))  # noqa: E731
            note("set-up, warm", lambda: tree.script("env", STACK))
            note("up, two sites, six machines", lambda: whole_up(tree))
            tree.pulumi("version")  # a shell with the two environment lines
            note("no-op up", lambda: engine_up(tree))
            note("no-op up with tables and matrix", lambda: whole_up(tree))
            tree.edit(add_host(3))
            note("one host more", lambda: engine_up(tree))
            note("destroy", lambda: tree.script("down", STACK))
        finally:
            tree.clean()


def main(
    rounds: Annotated[int, typer.Option(help="How often all is made and taken away.")] = 3,
    cold: Annotated[bool, typer.Option(help="Time set-up with an empty cache as well (minutes).")] = False,
) -> None:
    """Measure set-up, up, one more host, no-op up and destroy; print medians with their spread."""
    figures: dict[str, list[float]] = {}
    if cold:
        with tempfile.TemporaryDirectory(prefix="vcubev-bench-") as directory:
            tree = WorkTree(Path(directory), STACK)
            tree.environment |= {
                "XDG_CACHE_HOME": str(Path(directory) / "cache"),
                "GOCACHE": str(Path(directory) / "go"),
            }
            work = {
                "set-up, cold: environment and engine": lambda: tree.script("env", STACK),
                "set-up, cold: machine image": lambda: tree.script("lab", "image"),
            }
            for name, part in work.items():
                console.print(f"measuring {name}")
                figures[name] = [seconds(part)]
    for number in range(1, rounds + 1):
        console.print(f"round {number} of {rounds}")
        one_round(figures)
    table = Table("what", "median s", "lowest", "highest", "aim s", "of the aim")
    for name, values in figures.items():
        median, aim = statistics.median(values), AIMS.get(name)
        share = f"{median / aim:.0%}" if aim else ""
        table.add_row(name, f"{median:.1f}", f"{min(values):.1f}", f"{max(values):.1f}", str(aim or ""), share)
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
