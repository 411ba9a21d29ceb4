"""The engine's home: no log of each run, and all else as the user has it."""

import os

import pytest

from scripts.cli.engine_home import CREDENTIALS, HOME, KEEP_LOG, without_log


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in (CREDENTIALS, KEEP_LOG):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(HOME, str(tmp_path / "pulumi"))
    return tmp_path / "pulumi"


def test_an_engine_without_its_log_has_the_users_plugins_and_log_in(home):
    (home / "plugins" / "resource-aws").mkdir(parents=True)
    settings = without_log()
    quiet = home / "vcubev"
    assert settings == {HOME: str(quiet), CREDENTIALS: str(home)}
    assert (quiet / "logs").is_file() and (quiet / "plugins" / "resource-aws").is_dir()
    assert without_log() == settings, "again"


def test_in_a_shell_that_has_it_already_nothing_is_nested(home, monkeypatch):
    for name, value in without_log().items():
        monkeypatch.setenv(name, value)
    assert without_log() == {}
    assert sorted(os.listdir(home / "vcubev")) == ["logs", "plugins", "policies", "schemas", "workspaces"]


def test_who_wants_the_log_has_it(home, monkeypatch):
    monkeypatch.setenv(KEEP_LOG, "1")
    assert without_log() == {} and not home.exists()


def test_a_log_in_that_the_user_keeps_elsewhere_stays_there(home, monkeypatch, tmp_path):
    monkeypatch.setenv(CREDENTIALS, str(tmp_path / "elsewhere"))
    assert without_log()[CREDENTIALS] == str(tmp_path / "elsewhere")


def test_a_home_that_cannot_be_made_is_no_reason_to_fail(home, tmp_path):
    home.write_text("a file")
    assert without_log() == {}
