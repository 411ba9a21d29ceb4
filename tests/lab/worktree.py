"""A copy of the work tree with a stack of its own, so that a test's stack never meets the user's."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
MINUTES = 60


class WorkTree:
    """One stack, made from the lab's stack file, with its own copy of the program and its own state."""

    def __init__(self, directory: Path, stack: str) -> None:
        self.stack = stack
        self.tree = directory / "tree"
        self.log = directory / "output.log"  # all that any command printed
        self._shell: dict[str, str] | None = None
        self._clone()
        self.file = self.tree / "stacks" / f"Pulumi.{stack}.yaml"
        shutil.copy2(ROOT / "stacks" / "Pulumi.lab.yaml", self.file)
        self.edit(lambda values: None)
        # The engine's home as well: a user's log-in must not decide where a test's state lies.
        self.environment = {
            **os.environ,
            "XDG_STATE_HOME": str(directory / "state"),
            "PULUMI_HOME": str(directory / "pulumi"),
            # As in a user's shell: what the tests themselves were set up with is not there.
            "PATH": os.pathsep.join(
                p for p in os.environ["PATH"].split(os.pathsep) if "vcubev" not in p and str(ROOT) not in p
            ),
        }
        for name in (
            "VIRTUAL_ENV",
            "VCUBEV_STANDINS",
            "PULUMI_BACKEND_URL",
            "PULUMI_CREDENTIALS_PATH",
            "PULUMI_CONFIG_PASSPHRASE",
            "PULUMI_CONFIG_PASSPHRASE_FILE",
        ):
            self.environment.pop(name, None)

    def _clone(self) -> None:
        listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        files = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
        for name in filter(None, files):
            if (ROOT / name).is_file():
                (self.tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.tree / name)

    def lose(self) -> None:
        """Lose the operator's computer, and have a fresh clone of the program on another one."""
        for place in (self.tree, self.backend, Path(self.environment["PULUMI_HOME"])):
            shutil.rmtree(place)
        self._shell = None
        self._clone()

    @property
    def backend(self) -> Path:
        return Path(self.environment["XDG_STATE_HOME"]) / "vcubev"

    def config(self) -> dict[str, Any]:
        """Return what the stack file says."""
        return YAML(typ="safe").load(self.file.read_text())["config"]

    def edit(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Change the stack file as a user would."""
        yaml = YAML()
        written = yaml.load(self.file.read_text())
        written.pop("encryptionsalt", None) if not hasattr(self, "environment") else None
        change(written["config"])
        yaml.dump(written, self.file)

    def run(
        self, *command: str, environment: dict[str, str] | None = None, minutes: float = 10
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the copy; keep all that it prints."""
        own = environment or self.environment
        # Popen looks a command up in its own PATH, not in the one that the command is given.
        program = shutil.which(command[0], path=own["PATH"]) if "/" not in command[0] else command[0]
        done = subprocess.run(
            [program or command[0], *command[1:]],
            cwd=self.tree,
            env=own,
            capture_output=True,
            text=True,
            timeout=minutes * MINUTES,
        )
        # What shows secrets on purpose would be found by whoever looks for them afterwards.
        printed = "" if "--show-secrets" in command else f"{done.stdout}{done.stderr}"
        with self.log.open("a") as log:
            log.write(f"$ {' '.join(command)}\n{printed}\n")
        return done

    def script(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of scripts/ on this stack."""
        return self.run(f"./scripts/{name}", *arguments)

    def up(self) -> subprocess.CompletedProcess[str]:
        return self.script("up", self.stack)

    def lab(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the lab's console on this stack."""
        command, *rest = arguments
        return self.script("lab", command, "--stack", self.stack, *rest)

    def pulumi(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run plain Pulumi in a shell that has the two environment lines, as README tells."""
        if self._shell is None:
            told = self.run("bash", "-c", f'eval "$(./scripts/env {self.stack})" && env --null')
            self._shell = dict(entry.split("=", 1) for entry in told.stdout.split("\0") if "=" in entry)
        return self.run("pulumi", *arguments, "-s", self.stack, environment=self._shell)

    def preview(self) -> dict[str, set[str]]:
        """Return what a preview shows: operation -> the names of its resources; unchanged ones left out."""
        done = self.pulumi("preview", "--json")
        assert done.returncode == 0, done.stderr + done.stdout[-2000:]
        found: dict[str, set[str]] = {}
        for step in json.loads(done.stdout)["steps"]:
            if step["op"] not in ("same", "refresh"):
                found.setdefault(step["op"], set()).add(step["urn"].rpartition("::")[2])
        return found

    def outputs(self) -> dict[str, Any]:
        return json.loads(self.pulumi("stack", "output", "--json", "--show-secrets").stdout)

    def state(self) -> dict[str, Any]:
        """Return the whole state, secrets in the clear."""
        return json.loads(self.pulumi("stack", "export", "--show-secrets").stdout)

    def places(self) -> dict[str, bytes]:
        """Return what lies about on this computer: the work tree, what commands printed, state and engine's home."""
        kept = (self.tree, self.backend, Path(self.environment["PULUMI_HOME"]))
        files = [self.log, *(file for root in kept for file in root.rglob("*") if file.is_file())]
        return {str(file): file.read_bytes() for file in files}

    def addresses(self) -> dict[str, tuple[str, str]]:
        """Return each member's virtual addresses, as the stack's outputs say."""
        found = self.outputs()
        members = {**found["hubs"], **found["hosts"]}
        return {name: (member["ipv4"], member["ipv6"]) for name, member in members.items()}

    def clean(self) -> None:
        """Take away whatever a test left, by the engine and then by force."""
        self.script("down", self.stack)
        self.lab("sweep")

    @contextmanager
    def standing(self) -> Iterator[None]:
        """Hold the stack up for tests that share it. Only one run at a time has a stack of this name."""
        if os.geteuid() != 0:
            pytest.skip("makes machines: needs root")
        # Free when its holder dies; without it, a second run would sweep away the first one's machines.
        held = Path(f"/run/vcubev-{self.stack}.lock")
        lock = held.open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pytest.fail(f"another run of these tests has stack {self.stack}: {held} is held. Wait for its end.")
        self.lab("sweep")  # of a run that was killed
        # What is asked to end cleans up first.
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            done = self.up()
            assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
            yield
        finally:
            self.clean()
            lock.close()
            signal.signal(signal.SIGTERM, before)
