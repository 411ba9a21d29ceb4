"""`vcubev backup` and `restore`: what is in the file, who can read it, and what is never written over."""

import json
import os
import stat
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from scripts.cli import __main__ as cli
from scripts.cli import backup as sealing
from scripts.cli import stack as stacks
from scripts.cli.backup import Backup, CannotBackUp, Unreadable, gather, opened, sealed
from scripts.cli.stack import EngineFailed, Stack
from tests.components.declared import lab_values

PHRASE = "four words by dice"
STATE = {
    "version": 3,
    "deployment": {
        "secrets_providers": {"type": "passphrase", "state": {"salt": "v1:SALT"}},
        "resources": [{"urn": "urn::x", "type": "t", "outputs": {"key": {"ciphertext": "v1:SEALED"}}}],
    },
}
KEPT = Backup("mine", "2026-11-24T12:00:00+00:00", "config: {}\nencryptionsalt: v1:SALT\n", STATE, "the passphrase")


@pytest.fixture(autouse=True)
def cheap(monkeypatch):
    """What makes guessing slow makes tests slow, too."""
    monkeypatch.setattr(sealing, "COST", 2**4)


def test_guessing_a_pass_phrase_costs_what_it_should(monkeypatch):
    monkeypatch.undo()
    head = json.loads(sealed(KEPT, PHRASE))
    assert head["key"]["scrypt"] == [2**17, 8, 1], "OWASP's least for scrypt"


TEXTS = st.text(max_size=40)


@settings(deadline=None)
@given(TEXTS, TEXTS, TEXTS.filter(bool), st.dictionaries(TEXTS, TEXTS))
def test_what_was_sealed_comes_back_with_the_phrase_and_with_no_other(file, passphrase, phrase, state):
    sealing.COST = 2**4
    whole = replace(KEPT, stack_file=file, passphrase=passphrase, state=state)
    text = sealed(whole, phrase)
    assert opened(text, phrase) == whole
    with pytest.raises(Unreadable):
        opened(text, phrase + "x")


def test_nothing_but_stack_and_date_can_be_read_in_the_file():
    text = sealed(KEPT, PHRASE)
    assert (json.loads(text)["stack"], json.loads(text)["made"]) == ("mine", KEPT.made)
    for secret in ("passphrase", "SALT", "SEALED", PHRASE, "resources"):
        assert secret not in text
    assert sealed(KEPT, PHRASE) != text, "salt and nonce are fresh each time"


@pytest.mark.parametrize("part", ["stack", "made", "content", "key", "cipher", "format"])
def test_a_file_that_somebody_has_changed_is_not_taken(part):
    whole = json.loads(sealed(KEPT, PHRASE))
    other = json.loads(sealed(replace(KEPT, stack="theirs", made="2026-01-01"), PHRASE))
    whole[part] = other[part] if part != "format" else "vcubev backup 2"
    with pytest.raises(Unreadable):
        opened(json.dumps(whole), PHRASE)


@pytest.mark.parametrize("text", ["", "{}", "[]", '"x"', '{"format": "vcubev backup 1"}', "\x00"])
def test_what_is_no_backup_is_called_so(text):
    with pytest.raises(Unreadable, match="no backup"):
        opened(text, PHRASE)


def test_nobodys_file_makes_a_computer_think_for_minutes():
    whole = json.loads(sealed(KEPT, PHRASE))
    whole["key"]["scrypt"][0] = 2**30
    with pytest.raises(Unreadable, match="another kind"):
        opened(json.dumps(whole), PHRASE)


def test_what_could_not_be_restored_is_not_backed_up():
    for provider, passphrase, told in (("service", None, "Pulumi Cloud"), ("passphrase", None, "not known here")):
        state = json.loads(json.dumps(STATE))
        state["deployment"]["secrets_providers"]["type"] = provider
        with pytest.raises(CannotBackUp, match=told):
            gather("mine", "now", "", state, passphrase)
    with pytest.raises(CannotBackUp, match="no machines"):
        gather("mine", "now", "", {"deployment": {}}, "p")


def test_a_stack_file_that_lost_the_engines_line_gets_it_from_the_state():
    assert gather("mine", "now", "config: {}\n", STATE, "p").stack_file == "config: {}\nencryptionsalt: v1:SALT\n"
    assert gather("mine", "now", KEPT.stack_file, STATE, "p").stack_file == KEPT.stack_file


def test_a_key_services_secrets_need_no_passphrase():
    state = json.loads(json.dumps(STATE))
    state["deployment"]["secrets_providers"] = {"type": "cloud", "state": {"url": "awskms://x"}}
    assert gather("mine", "now", "", state, "other's").passphrase == ""


@pytest.fixture
def world(monkeypatch, tmp_path):
    """A computer with no stack; the engine only takes notes."""
    for name in ("PULUMI_BACKEND_URL", "PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("VCUBEV_DIRECTORY", str(tmp_path))
    monkeypatch.setattr(stacks, "STACKS", tmp_path)
    (tmp_path / "words").write_text(PHRASE + "\n")
    there: dict[str, dict] = {}
    outputs = {"hubs": {}, "hosts": {}, "login": {"user": "vcubev", "private_key": ""}}
    monkeypatch.setattr(Stack, "exists", lambda self: self.name in there)
    monkeypatch.setattr(Stack, "engine", lambda self, *command, quiet=False: _engine(there, self.name, command))
    monkeypatch.setattr(Stack, "replace_state", lambda self, state: there.update({self.name: state}))
    monkeypatch.setattr(Stack, "answer", lambda self, *command: json.dumps(there[self.name]))
    monkeypatch.setattr(Stack, "outputs", lambda self: outputs)
    return there


def _engine(there, name, command):
    if command[:2] == ("stack", "select"):
        there.setdefault(name, {})
    if command[:2] == ("stack", "rm"):
        del there[name]


def stack_file(tmp_path, salt="encryptionsalt: v1:SALT\n"):
    values = {f"vcubev:{key}": value for key, value in lab_values().items()}
    file = tmp_path / "Pulumi.mine.yaml"
    file.write_text(json.dumps({"config": values}) if not salt else f"config: {json.dumps(values)}\n{salt}")
    return file


def typed(*arguments):
    return CliRunner().invoke(cli.app, [*arguments, "--passphrase-file", "words"])


@pytest.fixture
def backed_up(world, tmp_path):
    """A backup of stack mine, and the computer without it."""
    file = stack_file(tmp_path)
    world["mine"] = STATE
    passphrase = tmp_path / "state" / "vcubev" / "passphrase"
    passphrase.parent.mkdir(parents=True)
    passphrase.write_text("the passphrase")
    done = typed("backup", "mine", "-o", "mine.backup")
    assert done.exit_code == 0, done.output
    text = file.read_text()
    file.unlink(), passphrase.unlink(), world.clear()
    return text


def test_all_is_back_after_everything_but_the_backup_is_lost(world, backed_up, tmp_path):
    assert stat.S_IMODE((tmp_path / "mine.backup").stat().st_mode) == 0o600
    done = typed("restore", "mine.backup")
    assert done.exit_code == 0, done.output
    assert world["mine"] == STATE and (tmp_path / "Pulumi.mine.yaml").read_text() == backed_up
    passphrase = tmp_path / "state" / "vcubev" / "passphrase"
    assert passphrase.read_text() == "the passphrase" and stat.S_IMODE(passphrase.stat().st_mode) == 0o600


def test_a_backup_is_never_written_over_another_file(world, backed_up, tmp_path):
    world["mine"] = STATE
    stack_file(tmp_path)
    before = (tmp_path / "mine.backup").read_bytes()
    done = typed("backup", "mine", "-o", "mine.backup")
    assert done.exit_code == 2 and (tmp_path / "mine.backup").read_bytes() == before


def test_a_short_pass_phrase_is_refused(world, tmp_path):
    world["mine"] = STATE
    stack_file(tmp_path)
    (tmp_path / "state" / "vcubev").mkdir(parents=True)
    (tmp_path / "state" / "vcubev" / "passphrase").write_text("p")
    (tmp_path / "words").write_text("short")
    done = typed("backup", "mine", "-o", "x")
    assert done.exit_code == 2 and not (tmp_path / "x").exists()


def test_a_stack_that_is_there_is_not_restored_over(world, backed_up, tmp_path):
    world["mine"] = {"other": 1}
    done = typed("restore", "mine.backup")
    assert done.exit_code == 2 and world["mine"] == {"other": 1}
    assert not (tmp_path / "Pulumi.mine.yaml").exists(), "what was written for it must be gone again"


def test_another_passphrase_of_this_computer_is_not_replaced(world, backed_up, tmp_path):
    passphrase = tmp_path / "state" / "vcubev" / "passphrase"
    passphrase.write_text("of other stacks")
    done = typed("restore", "mine.backup")
    assert done.exit_code == 2 and passphrase.read_text() == "of other stacks" and not world


def test_another_stack_file_is_kept_beside_the_one_that_comes_back(world, backed_up, tmp_path):
    file = stack_file(tmp_path, salt="")
    text = file.read_text()
    assert CliRunner().invoke(cli.app, ["restore", "mine.backup", "--passphrase-file", "words"], input="n\n").exit_code
    assert file.read_text() == text and not world
    assert typed("restore", "mine.backup", "--yes").exit_code == 0
    assert file.read_text() == backed_up and (tmp_path / "Pulumi.mine.yaml.before").read_text() == text


def test_what_failed_half_way_leaves_nothing(world, backed_up, tmp_path, monkeypatch):
    def fail(self, state):
        raise EngineFailed("no")

    monkeypatch.setattr(Stack, "replace_state", fail)
    assert typed("restore", "mine.backup").exit_code == 1
    assert not world and not (tmp_path / "Pulumi.mine.yaml").exists()


def test_a_wrong_phrase_touches_nothing(world, backed_up, tmp_path):
    (tmp_path / "words").write_text("something else entirely")
    done = typed("restore", "mine.backup")
    assert done.exit_code == 2 and "pass phrase is another" in done.output
    assert not world and not (tmp_path / "Pulumi.mine.yaml").exists()


def test_a_back_end_of_the_users_own_gets_its_passphrase_where_the_user_says(world, backed_up, tmp_path, monkeypatch):
    monkeypatch.setattr(Stack, "is_lab", lambda self: False)
    monkeypatch.setitem(os.environ, "PULUMI_CONFIG_PASSPHRASE_FILE", "")
    monkeypatch.delenv("PULUMI_CONFIG_PASSPHRASE_FILE")
    done = typed("restore", "mine.backup")
    assert done.exit_code == 2 and "--passphrase-to" in done.output and not world
    done = typed("restore", "mine.backup", "--passphrase-to", "key")
    assert done.exit_code == 0 and "PULUMI_CONFIG_PASSPHRASE_FILE" in done.output, done.output
    assert (tmp_path / "key").read_text() == "the passphrase"
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert os.environ.pop("PULUMI_CONFIG_PASSPHRASE_FILE") == str(tmp_path / "key")
