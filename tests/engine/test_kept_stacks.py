"""A stack whose machines are only said to be there, in a real engine: backup, restore, a state that knows of drift."""

import json
import os
import shutil
import subprocess

import pytest

from bench.program_figures import PLUGINS
from scripts.cli.drift import MARK, Deviation, marked
from tests.lab import keys
from tests.lab.worktree import WorkTree

STACK = "kept"
PHRASE = "seven words by dice, more or less\n"


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
        return self.in_shell("bash", "-c", program, STACK, *arguments)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    tree = Kept(tmp_path_factory.mktemp("kept"), STACK)
    made = "python3 -c \"from scripts.cli.stack import Stack; s = Stack('kept'); s.prepare(); s.up(quiet=True)\""
    done = tree.in_shell("bash", "-c", made)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return tree


def test_a_state_that_knows_of_drift_asks_for_that_bundle_only(kept):
    assert kept.preview() == {}
    state = json.loads(kept.pulumi("stack", "export").stdout)
    before = json.dumps(state, sort_keys=True)
    urn = next(r["urn"] for r in state["deployment"]["resources"] if r["urn"].endswith(f"::{STACK}-web-1-install"))
    noted = marked(state, [Deviation("web-1", "host", urn, "file", "/etc/vcubev/path.conf", ("changed",))])
    file = kept.tree / "noted.json"
    file.write_text(json.dumps(noted))
    assert kept.pulumi("stack", "import", "--file", str(file)).returncode == 0
    shown = kept.pulumi("preview", "--diff")
    assert kept.preview() == {"update": {f"{STACK}-web-1-install"}}
    assert MARK in shown.stdout and "/etc/vcubev/path.conf changed" in shown.stdout, "the preview says what has drifted"
    done = kept.pulumi("up", "--yes", "--skip-preview")
    assert done.returncode == 0, done.stderr
    after = json.loads(kept.pulumi("stack", "export").stdout)
    assert kept.preview() == {} and MARK not in json.dumps(after)
    assert len(json.dumps(after, sort_keys=True)) == pytest.approx(len(before), rel=0.02)


def test_all_goes_on_from_a_backup_when_everything_else_is_lost(kept, tmp_path):
    secrets = keys.of_state(kept.state())
    passphrase = (kept.backend / "passphrase").read_bytes()
    words, file = tmp_path / "words", tmp_path / "kept.backup"
    words.write_text(PHRASE)
    done = kept.vcubev("backup", STACK, "-o", str(file), "--passphrase-file", str(words))
    assert done.returncode == 0, done.stderr
    sealed = file.read_bytes()
    assert len(secrets) > 20 and passphrase not in sealed
    assert keys.found_in({"backup": sealed}, secrets.values()) == set()
    outputs = kept.outputs()
    stack_file = kept.file.read_text()
    kept.lose()
    assert not kept.file.exists() and not kept.backend.exists()
    done = kept.vcubev("restore", str(file), "--passphrase-file", str(words), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["hubs"] == ["oregon/a", "paris/a"]
    assert kept.file.read_text() == stack_file and (kept.backend / "passphrase").read_bytes() == passphrase
    assert kept.outputs() == outputs and kept.preview() == {}
    again = kept.vcubev("restore", str(file), "--passphrase-file", str(words))
    assert again.returncode == 2 and "there already" in again.stderr
    done = kept.pulumi("destroy", "--yes", "--skip-preview")
    assert done.returncode == 0, done.stderr
    assert subprocess.run(["grep", "-rl", "PRIVATE KEY", str(kept.backend)], capture_output=True).stdout == b""
