"""`scripts/up` at clouds that charge for it: nothing is begun before credentials, preview, price and a yes."""

import pytest
from typer.testing import CliRunner

from components.clouds import known_clouds
from components.model.stackfile import load
from components.targeted import targets_of
from scripts.cli import __main__ as commands
from scripts.cli import stack as stacks
from scripts.cli import up_command
from scripts.cli.credentials import NotSignedIn
from tests.components.at_clouds import site_values

TOPOLOGY = load(site_values("linode", "fr-par"), known_clouds())


@pytest.fixture
def done(monkeypatch, tmp_path):
    """A stack at Linode that was never made; returns what happens to it, in order."""
    happened = []
    monkeypatch.setattr(stacks, "STACKS", tmp_path)
    (tmp_path / "Pulumi.far.yaml").write_text("config: {}\n")
    monkeypatch.setattr(stacks.Stack, "topology", lambda self: TOPOLOGY)
    monkeypatch.setattr(stacks.Stack, "prepare", lambda self: happened.append("prepare"))
    monkeypatch.setattr(stacks.Stack, "exists", lambda self: False)
    monkeypatch.setattr(stacks.Stack, "last_changes", lambda self: {"create": 1})
    monkeypatch.setattr(stacks.Stack, "engine", lambda self, *command, quiet=False: happened.append(command[0]))
    monkeypatch.setattr(up_command, "check_credentials", lambda *args: happened.append("credentials"))
    monkeypatch.setattr(up_command, "_look", lambda stack, only, data=None: happened.append("look"))
    return happened


def up(*arguments, answer=""):
    return CliRunner().invoke(commands.app, ["up", "far", *arguments], input=answer)


def test_a_yes_after_preview_and_price_goes(done):
    result = up(answer="y\n")
    assert done == ["credentials", "prepare", "preview", "up", "look"], result.output
    assert "g6-nanode-1" in result.output and "+15.00" in result.output


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_anything_else_changes_nothing(done, answer):
    assert up(answer=answer).exit_code == 1 and "up" not in done


def test_who_says_yes_beforehand_is_not_asked(done):
    up("--yes")
    assert done == ["credentials", "prepare", "up", "look"]


def test_nothing_is_begun_where_a_cloud_lets_nobody_in(done, monkeypatch):
    def refuse(*args):
        raise NotSignedIn("linode: LINODE_TOKEN is not set.")

    monkeypatch.setattr(up_command, "check_credentials", refuse)
    assert isinstance(up("--yes").exception, NotSignedIn) and done == []


def hubs_up(monkeypatch, *hubs):
    monkeypatch.setattr(stacks.Stack, "exists", lambda self: True)
    monkeypatch.setattr(stacks.Stack, "exported", lambda self: {})
    monkeypatch.setattr(stacks.Stack, "outputs", lambda self: {"hubs": dict.fromkeys(hubs), "hosts": {}})


def test_preview_and_up_of_one_host_leave_all_else_alone(done, monkeypatch):
    hubs_up(monkeypatch, *(hub.key for hub in TOPOLOGY.hubs))
    asked = []
    monkeypatch.setattr(stacks.Stack, "engine", lambda self, *command, quiet=False: asked.append(command))
    (host, *_) = TOPOLOGY.hosts
    result = up("--only", host.name, answer="y\n")
    assert result.exit_code == 0, result.output
    assert [command[0] for command in asked] == ["preview", "up"]
    targets = targets_of("far", [host])
    assert all(set(targets) <= set(command) for command in asked) and len(targets) == 2


@pytest.mark.parametrize(
    ("host", "hubs", "told"),
    [
        ("nobody", [hub.key for hub in TOPOLOGY.hubs], "no host nobody"),
        (TOPOLOGY.hosts[0].name, [], "need hubs that are not up"),
        (TOPOLOGY.hosts[0].name, None, "is not up, so there are no hubs"),
    ],
)
def test_a_host_that_cannot_be_made_by_itself_is_an_error_before_anything_is_done(done, monkeypatch, host, hubs, told):
    if hubs is not None:
        hubs_up(monkeypatch, *hubs)
    result = up("--yes", "--only", host)
    assert result.exit_code == 2 and told in " ".join(result.output.split()) and done == [], result.output


@pytest.fixture
def there(done, monkeypatch):
    """The same stack, made meanwhile."""
    monkeypatch.setattr(stacks.Stack, "exists", lambda self: True)
    monkeypatch.setattr(stacks.Stack, "forget", lambda self: done.append("forget"))
    return done


def down(*arguments, answer=""):
    return CliRunner().invoke(commands.app, ["down", "far", *arguments], input=answer)


def test_on_a_terminal_down_shows_what_goes_and_asks_before_it_shows_how_far_it_is(there, monkeypatch):
    monkeypatch.setattr(stacks.Stack, "shows_progress", lambda self: True)
    monkeypatch.setattr(stacks, "follow", lambda command, *rest: there.append(command[1]))
    monkeypatch.setattr(stacks.Stack, "engine", lambda self, *command, quiet=False: there.append(command[-1]))
    assert down(answer="n\n").exit_code == 1 and there == ["prepare", "--preview-only"]
    there.clear()
    result = down(answer="y\n")
    assert result.exit_code == 0 and there == ["prepare", "--preview-only", "destroy", "forget"], result.output


def test_elsewhere_the_engine_itself_asks_before_it_takes_a_stack_away(there, monkeypatch):
    asked = []
    monkeypatch.setattr(stacks.Stack, "engine", lambda self, *command, quiet=False: asked.append(command))
    assert down().exit_code == 0 and "--yes" not in asked[0]
    asked.clear()
    assert down("--yes").exit_code == 0 and "--yes" in asked[0]
