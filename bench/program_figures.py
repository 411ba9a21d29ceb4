"""Times preview and up of generated stacks with no machines: the engine's, the program's and the plugins' own cost."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from bench.generated import SITES, stack_values
from bench.watching import Watched, watched
from components.clouds import known_clouds
from components.model.config import NAMESPACE
from components.model.stackfile import load
from components.targeted import targets_of
from engine.background import let_engine_end_its_own
from scripts.cli.engine_home import KEEP_LOG
from tests.lab.worktree import ROOT, WorkTree

STACK = "bench-program"
PLUGINS = Path(__file__).parent / "no-machines"
SIZES = "10,100,500,1000"
GROWTH_AIM = 2.2  # twice the hosts, at most so many times the seconds
PREVIEW, ALONE, PREVIEW_AIM_SECONDS = "preview of one more", "preview of one more alone", 20
# Without it, the engine's file back end writes the whole state twice for each resource.
ONE_CHECKPOINT = {"PULUMI_SKIP_CHECKPOINTS": "true"}
console = Console(width=None if sys.stdout.isatty() else 110)


@dataclass
class Figures:
    """What one size takes: name of the step -> its run."""

    hosts: int
    runs: dict[str, Watched] = field(default_factory=dict)
    state_kilobytes: float = 0
    create_only: dict[str, bool] = field(default_factory=dict)  # likewise, of previews


class Bench:
    """A copy of the work tree with a generated stack, whose plugins make nothing."""

    def __init__(self, directory: Path, engine_log: bool) -> None:
        self._tree = WorkTree(directory, STACK)
        shutil.copy2(PLUGINS / "pulumi-resource-lab", self._tree.tree / "lab" / "pulumi-resource-lab")
        self._write(0)
        kept = {**self._tree.environment, **({KEEP_LOG: "1"} if engine_log else {})}
        told = self._tree.run("bash", "-c", f'eval "$(./scripts/env {STACK})" && env --null', environment=kept)
        environment = dict(entry.split("=", 1) for entry in told.stdout.split("\0") if "=" in entry)
        environment["PATH"] = f"{self._tree.tree / 'bench' / PLUGINS.name}{os.pathsep}{environment['PATH']}"
        environment["BENCH_TREE"] = str(self._tree.tree)
        environment["PULUMI_BACKEND_URL"] = f"file://{self._tree.backend}"
        environment["PULUMI_CONFIG_PASSPHRASE"] = secrets.token_urlsafe()
        environment.pop("PULUMI_CONFIG_PASSPHRASE_FILE", None)
        self._environment = environment
        self._tree.backend.mkdir(parents=True)
        self.run(1, "stack", "init")

    def _write(self, hosts: int) -> None:
        values = stack_values(max(hosts, 1))

        def change(config: dict) -> None:
            for key in [key for key in config if key.startswith(NAMESPACE)]:
                del config[key]
            config.update({f"{NAMESPACE}{key}": value for key, value in values.items()})

        self._tree.edit(change)

    def run(self, hosts: int, *command: str, more: dict[str, str] | None = None) -> Watched:
        """Run an engine command on a stack of so many hosts.

        Raises:
            SystemExit: It failed.
        """
        self._write(hosts)
        run = ["pulumi", *command, "-s", STACK]
        program = shutil.which("pulumi", path=self._environment["PATH"])
        done = watched([program or "pulumi", *run[1:]], self._tree.tree, {**self._environment, **(more or {})})
        if done.returncode:
            raise SystemExit(done.output[-4000:] + done.errors[-4000:])
        return done

    def targets(self, number: int) -> list[str]:
        """Return the options for one host by itself, as `vcubev up --only` gives them."""
        hosts = load(stack_values(number + 1), known_clouds()).hosts
        return targets_of(STACK, [host for host in hosts if host.name == f"host-{number}"])

    def state_kilobytes(self) -> float:
        """Return how large the stack's state is."""
        states = (self._tree.backend / ".pulumi" / "stacks").rglob(f"{STACK}.json")
        return sum(state.stat().st_size for state in states) / 1024


@contextmanager
def bench(engine_log: bool = False) -> Iterator[Bench]:
    with tempfile.TemporaryDirectory(prefix="vcubev-bench-") as directory:
        yield Bench(Path(directory), engine_log)


def only_creates(preview: str) -> bool:
    """Tell whether a preview shows new resources and no change of one that exists."""
    operations = {step["op"] for step in json.loads(preview)["steps"]} - {"same", "refresh"}
    return operations == {"create"}


def measure(hosts: int, each_step: bool, only: str, engine_log: bool) -> Figures:
    """Make a stack of some size, look at it again, and preview one host more.

    Args:
        only: Names of the steps to take; "" for all.
        each_step: Whether the engine writes the state at each step, as it does by itself.
        engine_log: Whether the engine writes its own encrypted log of each run, as it does by itself.
    """
    figures = Figures(hosts)
    with bench(engine_log) as one:
        more = {} if each_step else ONE_CHECKPOINT
        steps = {
            "preview of all": (hosts, ("preview",)),
            "up": (hosts, ("up", "--yes", "--skip-preview")),
            "no-op up": (hosts, ("up", "--yes", "--skip-preview")),
            PREVIEW: (hosts + 1, ("preview", "--json")),
            ALONE: (hosts + 1, ("preview", "--json", *one.targets(hosts))),
            "one more alone": (hosts + 1, ("up", "--yes", "--skip-preview", *one.targets(hosts))),
        }
        for name, (size, command) in steps.items():
            if only and name not in only.split(","):
                continue
            figures.runs[name] = run = one.run(size, *command, more=more)
            held = ", ".join(f"{kind} {megabytes:.0f}" for kind, megabytes in sorted(run.megabytes.items()))
            spent = ", ".join(f"{kind} {seconds:.1f}" for kind, seconds in sorted(run.cpu.items()))
            console.print(f"{hosts} hosts, {name}: {run.seconds:.1f} s; CPU s: {spent}; MB: {held}")
            if name in (PREVIEW, ALONE):
                figures.create_only[name] = only_creates(run.output)
        figures.state_kilobytes = one.state_kilobytes()
    return figures


def alone(hosts: int, *options: str) -> dict[str, float]:
    """Return what the program takes by itself, with an engine that only records."""
    command = [sys.executable, "-m", "bench.program_alone", str(hosts), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def show(all_figures: list[Figures]) -> None:
    table = Table("step", *(f"{figures.hosts} hosts" for figures in all_figures), title="seconds")
    for name in all_figures[0].runs:
        table.add_row(name, *(f"{figures.runs[name].seconds:.1f}" for figures in all_figures))
    memory = lambda f: max(sum(run.megabytes.get(k, 0) for k in ("engine", "program")) for run in f.runs.values())  # noqa: E731
    table.add_row("peak MB, engine and program", *(f"{memory(figures):.0f}" for figures in all_figures))
    table.add_row("kB of that per host", *(f"{memory(f) * 1024 / f.hosts:.0f}" for f in all_figures))
    table.add_row("state, kB per host", *(f"{f.state_kilobytes / f.hosts:.0f}" for f in all_figures))
    console.print(table)
    by_size = {figures.hosts: figures for figures in all_figures}
    for hosts, figures in by_size.items():
        if half := by_size.get(hosts // 2):
            for name in figures.runs.keys() & half.runs.keys():
                ratio = figures.runs[name].seconds / half.runs[name].seconds
                verdict = "" if ratio <= GROWTH_AIM else f" (aim: at most {GROWTH_AIM})"
                console.print(f"{name}, {hosts} against {half.hosts} hosts: {ratio:.2f} times{verdict}")
    last = all_figures[-1]
    for name, create_only in last.create_only.items():
        kept = "creates only" if create_only else "NOT creates only"
        seconds = last.runs[name].seconds
        console.print(f"{name} at {last.hosts} hosts: {seconds:.1f} s (aim {PREVIEW_AIM_SECONDS}), {kept}")


def main(
    sizes: Annotated[str, typer.Option(help="Numbers of hosts, in 10 sites.")] = SIZES,
    each_step: Annotated[
        bool, typer.Option(help="Write the state at each step, as the engine does by itself.")
    ] = False,
    only: Annotated[str, typer.Option(help="Steps to take, by their names, with commas; all if it is not given.")] = "",
    engine_log: Annotated[
        bool, typer.Option(help="Let the engine write its log of each run, as it does by itself.")
    ] = False,
    program_only: Annotated[bool, typer.Option(help="No engine: the program against one that records.")] = False,
) -> None:
    """Measure preview, up, no-op up and one more host for generated stacks, with plugins that make nothing.

    The state is written once, at the end (PULUMI_SKIP_CHECKPOINTS), unless --each-step says otherwise.
    """
    let_engine_end_its_own()
    numbers = [int(size) for size in sizes.split(",")]
    if program_only:
        table = Table("hosts", "resources", "CPU s", "MB", "CPU s as the SDK comes", title=f"{SITES} sites")
        for hosts in numbers:
            lean, before = alone(hosts), alone(hosts, "--as-it-comes")
            spent = f"{lean['cpu_seconds']:.1f}", f"{lean['megabytes']:.0f}", f"{before['cpu_seconds']:.1f}"
            table.add_row(str(hosts), str(int(lean["resources"])), *spent)
        console.print(table)
        return
    show([measure(hosts, each_step, only, engine_log) for hosts in numbers])


if __name__ == "__main__":
    typer.run(main)
