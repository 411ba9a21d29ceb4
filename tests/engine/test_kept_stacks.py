"""A stack whose machines are only said to be there, in a real engine: backup, restore, a state that knows of drift."""

import json
import subprocess
from pathlib import Path

import pytest

from scripts.cli.drift import MARK, Deviation, marked
from tests.engine.kept import Kept
from tests.lab import keys

STACK = "kept"
PHRASE = "seven words by dice, more or less\n"


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


def test_the_engine_keeps_nothing_that_a_kill_could_leave_half_written(kept):
    """An attributes' file cut short made each command say "error: EOF", `down` as well; all others are renamed."""
    (state,) = kept.backend.rglob(f"stacks/*/{STACK}.json")
    assert list(kept.backend.rglob("*.attrs")) == []
    cut_short = state.with_name(f"{state.name}.attrs")
    cut_short.touch()
    assert "EOF" in kept.pulumi("stack", "export").stderr, "it does no harm any more: this test and NO_SIDECARS may go"
    cut_short.unlink()
    assert kept.preview() == {}


def test_the_engine_spends_no_time_on_a_log_for_its_makers(kept):
    home = Path(kept.environment["PULUMI_HOME"])
    assert (home / "vcubev" / "logs").stat().st_size == 0
    logs = [log.name for log in (home / "logs").iterdir()]
    assert all(name.endswith("-plugin_list.log") for name in logs), "set-up asks once which plugins the user has"


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
