"""A computer's other corner: the package installed from its wheel, away from the work tree, and an engine for it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from engine.get import CACHE
from engine.languages import host_directory
from tests.lab.worktree import ROOT, WorkTree

EXAMPLES = ROOT / "examples"
MINUTES = 60


def uv() -> str:
    """Return the program that made the environment in which the tests run."""
    own = shutil.which("uv")
    version = re.search(r"uv==([0-9.]+)", (ROOT / "engine" / "uv.txt").read_text())
    assert version
    return own or str(CACHE / f"uv-{version[1]}" / "bin" / "uv")


class Outside:
    """An empty environment into which the wheel was installed, with the versions of the lock file."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.python = directory, directory / "environment" / "bin" / "python"
        # uv and setuptools leave what they build in the tree that they build from.
        tree = WorkTree(directory, "wheel").tree
        self.uv("build", "--wheel", "--out-dir", str(directory), cwd=tree)
        (self.wheel,) = directory.glob("*.whl")
        self.uv("venv", "--python", sys.executable, str(directory / "environment"))
        listing = ("--frozen", "--no-dev", "--no-hashes", "--no-emit-project", "-o", str(directory / "versions.txt"))
        self.uv("export", *listing, cwd=tree)
        versions = ("--constraint", str(directory / "versions.txt"))
        self.uv("pip", "install", "--python", str(self.python), *versions, str(self.wheel))
        self.checkout = tree

    def uv(self, *arguments: str, cwd: Path | None = None) -> None:
        done = subprocess.run([uv(), "--quiet", *arguments], cwd=cwd or self.directory, capture_output=True, text=True)
        assert done.returncode == 0, f"uv {' '.join(arguments)}: {done.stderr[-3000:]}"

    def environment(self) -> dict[str, str]:
        """Return what a user's shell has with this environment active: nothing of the work tree is in it."""
        parts = [p for p in os.environ["PATH"].split(os.pathsep) if "venv-" not in p and str(ROOT) not in p]
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VCUBEV_"))}
        path = os.pathsep.join([str(self.python.parent), *parts])
        return {**kept, "PATH": path, "VIRTUAL_ENV": str(self.python.parents[1])}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the environment's Python in an empty directory."""
        empty = self.directory / "empty"
        empty.mkdir(exist_ok=True)
        command = [str(self.python), *arguments]
        return subprocess.run(command, cwd=empty, env=self.environment(), capture_output=True, text=True)


class Program:
    """A copy of an example, and a stack of it with a state of its own."""

    def __init__(self, outside: Outside, example: str, stack: str, languages: tuple[str, ...] = ()) -> None:
        self.stack, self.directory = stack, outside.directory / example
        self.plugin = outside.python.parent / "pulumi-resource-vcubev"
        shutil.copytree(EXAMPLES / example, self.directory)
        home = outside.directory / f"{example}-home"
        (home / "state").mkdir(parents=True)
        self.environment = {
            **outside.environment(),
            "PULUMI_HOME": str(home),
            "PULUMI_BACKEND_URL": f"file://{home / 'state'}",
            "PULUMI_CONFIG_PASSPHRASE": "an example's",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
        }
        engine = subprocess.run(
            [sys.executable, ROOT / "engine" / "get.py"], capture_output=True, text=True, check=True
        )
        more = [*engine.stdout.split(), *(str(host_directory(language)) for language in languages)]
        self.environment["PATH"] = os.pathsep.join([str(outside.python.parent), *more, self.environment["PATH"]])

    @property
    def project(self) -> str:
        """Return the name by which the lab knows whose machines are whose."""
        return re.search(r"^name: (\S+)$", (self.directory / "Pulumi.yaml").read_text(), re.MULTILINE)[1]

    def pulumi(self, *arguments: str, minutes: float = 5) -> str:
        """Run the engine; return what it prints."""
        program = shutil.which("pulumi", path=self.environment["PATH"])
        done = subprocess.run(
            [program, *arguments, "--non-interactive"],
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=minutes * MINUTES,
        )
        assert done.returncode == 0, f"pulumi {' '.join(arguments)}\n{done.stdout[-4000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def outputs(self) -> dict[str, object]:
        return json.loads(self.pulumi("stack", "output", "--json", "-s", self.stack))

    def on(self, machine: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command on a lab machine of the stack."""
        return self._lab("exec", machine, "--", *command)

    def sweep(self) -> None:
        """Take away by force whatever is left of the stack."""
        done = self._lab("sweep")
        assert done.returncode == 0, done.stderr

    def _lab(self, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        of = ("--stack", f"{self.project}.{self.stack}")
        run = [sys.executable, "-m", "lab.cli", command, *of, *arguments]
        return subprocess.run(run, cwd=ROOT, capture_output=True, text=True, timeout=MINUTES)
