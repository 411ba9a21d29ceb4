"""A work tree with a stack whose machines are only said to be there, in a real engine."""

import os
import shutil

from bench.program_figures import PLUGINS
from tests.lab.worktree import WorkTree


class Kept(WorkTree):
    """A work tree whose plugins make nothing."""

    def _clone(self):
        super()._clone()
        shutil.copy2(PLUGINS / "pulumi-resource-lab", self.tree / "lab" / "pulumi-resource-lab")

    def in_shell(self, *command):
        """Run a command in a shell that has the project's tools, and plugins that make nothing before all others."""
        if self._shell is None:
            told = self.run("bash", "-c", 'eval "$(./scripts/env lab)" && env --null')
            shell = dict(entry.split("=", 1) for entry in told.stdout.split("\0") if "=" in entry)
            shell["PATH"] = f"{self.tree / 'bench' / PLUGINS.name}{os.pathsep}{shell['PATH']}"
            self._shell = {**shell, "BENCH_TREE": str(self.tree), "PULUMI_SKIP_CHECKPOINTS": "true"}
            # As the program itself finds them.
            del self._shell["PULUMI_BACKEND_URL"], self._shell["PULUMI_CONFIG_PASSPHRASE_FILE"]
        return self.run(*command, environment=self._shell)

    def vcubev(self, *arguments):
        return self.in_shell("python3", "-m", "scripts.cli", *arguments)

    def pulumi(self, *arguments):
        program = 'eval "$(python3 -m scripts.cli env "$0" | grep -v "export PATH")"; exec pulumi "$@" -s "$0"'
        return self.in_shell("bash", "-c", program, self.stack, *arguments)
