"""A stack whose machines are only said to be there, in a real engine: backup, restore, a state that knows of drift."""

import json
import re
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


def up_only(kept, *hosts):
    program = f"from scripts.cli.stack import Stack; Stack('kept').up(True, {hosts!r})"
    return kept.in_shell("python3", "-c", program)


def test_one_host_more_is_made_by_itself_and_nothing_is_lost_of_the_others(kept):
    before, others = kept.outputs(), {r["urn"] for r in kept.state()["deployment"]["resources"]}
    more = ("--role", "web", "--site", "paris", "--stack", STACK, "--preview", "--yes")
    shown = kept.vcubev("add", "host", "web-9", *more)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert f"By vcubev up {STACK} --only web-9:" in shown.stdout
    told = re.findall(r"^(\w+) +(\S+) (\S+)$", shown.stdout, re.MULTILINE)
    assert len(told) > 8 and {word for word, *_ in told} == {"make"}
    assert all(name.startswith(f"{STACK}-web-9") for *_, name in told)
    assert kept.vcubev("add", "host", "web-9-b", *more[:-2]).returncode == 0, "whose name a target of web-9 fits too"
    alone = kept.vcubev("up", STACK, "--only", "web-9")
    assert alone.returncode == 2 and "cannot tell what is new of web-9-b" in alone.stderr, alone.stderr
    done = up_only(kept, "web-9", "web-9-b")
    assert done.returncode == 0, done.stderr
    made = {r["urn"] for r in kept.state()["deployment"]["resources"]}
    assert others < made and {urn.rpartition("::")[2].startswith(f"{STACK}-web-9") for urn in made - others} == {True}
    after = kept.outputs()
    assert after["hosts"].keys() - before["hosts"].keys() == {"web-9", "web-9-b"}
    new = after["hosts"].pop("web-9")
    after["hosts"].pop("web-9-b")
    assert after == before and new["ipv4"] and new["ssh"]["host_key"]
    assert kept.preview() == {}, "it is as the whole program would have made it"


def test_a_host_that_is_gone_from_the_file_does_not_go_because_another_is_made(kept):
    assert kept.vcubev("remove", "host", "web-9-b", "--stack", STACK).returncode == 0
    done = up_only(kept, "web-9")
    assert done.returncode and "web-9-b too, no longer in the stack file" in done.stdout + done.stderr
    assert "web-9-b" in kept.outputs()["hosts"]
    assert kept.pulumi("up", "--yes", "--skip-preview").returncode == 0
    assert "web-9-b" not in kept.outputs()["hosts"]
    assert up_only(kept, "web-9").returncode == 0 and kept.preview() == {}


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
