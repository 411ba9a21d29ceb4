"""`vcubev add`, `remove`, `move`, `rename` and `init`, as they are typed."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from components.clouds import known_clouds
from components.model.errors import StackErrors
from components.model.stackfile import load_file
from scripts.cli import __main__ as cli
from scripts.cli import stack as stacks
from scripts.cli.stack import ROOT, EngineFailed

OUTPUTS = {"hubs": {}, "hosts": {"web-7": {"site": "paris", "ipv4": "10.100.1.7"}}}


@pytest.fixture
def file(tmp_path, monkeypatch):
    """The lab's stack file, of a stack that is up."""
    monkeypatch.setattr(stacks, "STACKS", tmp_path)
    monkeypatch.setattr(stacks.Stack, "exists", lambda self: True)
    monkeypatch.setattr(stacks.Stack, "outputs", lambda self: OUTPUTS)
    return shutil.copy(ROOT / "stacks" / "Pulumi.lab.yaml", tmp_path / "Pulumi.mine.yaml")


def run(*arguments, answer=""):
    return CliRunner().invoke(cli.app, arguments, input=answer)


def test_a_host_is_added_past_those_that_are_up_and_its_address_is_told(file):
    told = run("add", "host", "web-8", "--role", "web", "--site", "paris", "--stack", "mine", "--json")
    data = json.loads(told.stdout)
    assert (told.exit_code, data["ids"]) == (0, {"web-8": 8})
    assert data["addresses"]["web-8"]["ipv4"] == "10.100.1.8"
    assert "+        web-8: {role: web, id: 8}" in data["diff"] and "web-8: {role: web, id: 8}" in file.read_text()


def test_the_difference_is_shown_and_a_dry_run_writes_nothing(file):
    before = file.read_text()
    told = run("remove", "host", "db-2", "--stack", "mine", "--dry-run")
    assert told.exit_code == 0 and "-        db-2: {role: db, id: 2, private: true}" in told.stdout
    assert file.read_text() == before


def test_mistakes_are_the_stack_files_own_and_nothing_is_written(file):
    before = file.read_text()
    told = run("add", "host", "web-9", "--role", "nobody", "--site", "paris", "--zone", "7", "--stack", "mine")
    assert isinstance(told.exception, StackErrors)
    assert "is not a role" in str(told.exception) and "zone: 7 is out of range" in str(told.exception)
    assert file.read_text() == before


def test_a_state_that_cannot_be_read_is_told_and_hinders_nobody(file, monkeypatch):
    def refuse(self):
        raise EngineFailed("error: wrong passphrase")

    monkeypatch.setattr(stacks.Stack, "outputs", refuse)
    told = run("add", "role", "cache", "--stack", "mine")
    assert told.exit_code == 0 and "wrong passphrase" in told.stderr
    assert "cache: {id: 3}" in file.read_text()


def test_where_no_engine_ever_was_there_is_no_state(file, monkeypatch):
    def lacking(self):
        raise FileNotFoundError("pulumi")

    monkeypatch.setattr(stacks.Stack, "exists", lacking)
    assert run("remove", "host", "web-2", "--stack", "mine").exit_code == 0
    assert "retired" not in file.read_text()


def test_the_preview_sees_the_new_file_before_it_is_written(file, monkeypatch):
    seen = []

    def answer(self, *command):
        draft = command[command.index("--config-file") + 1]
        seen.append(("web-8" in Path(draft).read_text(), "web-8" in file.read_text()))
        kinds = "urn:pulumi:mine::vcubev::vcubev:index:Mesh$vcubev:index:Host"
        steps = [
            ("create", f"{kinds}::mine-web-8"),
            ("same", f"{kinds}::mine-web-1"),
            ("replace", f"{kinds}::mine-web-2"),
        ]
        return json.dumps({"steps": [{"op": op, "urn": urn} for op, urn in steps]})

    monkeypatch.setattr(stacks.Stack, "prepare", lambda self: None)
    monkeypatch.setattr(stacks.Stack, "answer", answer)
    arguments = ("add", "host", "web-8", "--role", "web", "--site", "paris", "--stack", "mine", "--preview")
    assert run(*arguments, answer="n\n").exit_code == 1 and "web-8" not in file.read_text()
    told = run(*arguments, answer="y\n")
    assert told.exit_code == 0 and "web-8" in file.read_text()
    assert "make        vcubev:index:Host mine-web-8\n" in told.stdout and "mine-web-1" not in told.stdout
    assert "MAKE ANEW   vcubev:index:Host mine-web-2\n" in told.stdout
    assert seen == [(True, False)] * 2


def test_a_file_keeps_its_mode(file):
    file.chmod(0o640)
    run("add", "role", "cache", "--stack", "mine")
    assert file.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in file.parent.iterdir()] == [file.name], "a draft was left behind"


def test_an_assertion_that_a_change_breaks_is_told(file):
    run("add", "service", "db", "--on", "db", "--port", "5432/tcp", "--from", "web", "--stack", "mine")
    file.write_text(file.read_text() + "  vcubev:tests: [{from: web-1, to: db-1, port: 5432/tcp, allowed: true}]\n")
    told = run("remove", "service", "db", "--stack", "mine")
    assert "tests.0 does not hold any more" in told.stdout.replace("\n", " ")


HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI"


def test_machines_of_the_users_own_come_with_their_keys(file):
    own = ("--machine", "admin@192.0.2.9:2222", "--host-key", HOST_KEY)
    run("add", "site", "office", "--cloud", "byo", "--hubs-of", "paris", "--stack", "mine")
    assert run("add", "host", "web-9", "--role", "web", "--site", "office", *own, "--stack", "mine").exit_code == 0
    (host,) = next(site for site in load_file(file, known_clouds()).sites if site.name == "office").hosts
    assert (host.machine.address, host.machine.user, host.machine.port) == ("192.0.2.9", "admin", 2222)
    told = run("add", "host", "web-10", "--role", "web", "--site", "office", "--stack", "mine")
    assert "machine: is missing" in str(told.exception)


@pytest.fixture
def empty(tmp_path, monkeypatch):
    monkeypatch.setattr(stacks, "STACKS", tmp_path)
    return tmp_path


def test_a_new_stack_file_is_right_has_comments_and_takes_changes(empty):
    sites = ("--site", "oregon=lab/us-west:2", "--site", "paris=lab/eu-west")
    hosts = ("--host", "web-1=web@oregon", "--host", "db-1=db@paris,private")
    told = run("init", "mine", *sites, "--role", "web", "--role", "db", *hosts)
    assert told.exit_code == 0, told.output
    text = (empty / "Pulumi.mine.yaml").read_text()
    found = load_file(empty / "Pulumi.mine.yaml", known_clouds())
    assert [hub.key for hub in found.hubs] == ["oregon/a", "oregon/b", "paris/a"] and text.count("#") > 5
    assert {host.name: (host.role, host.private) for host in found.hosts} == {
        "web-1": ("web", False),
        "db-1": ("db", True),
    }
    again = run("init", "mine", *sites)
    assert again.exit_code == 2 and (empty / "Pulumi.mine.yaml").read_text() == text


def test_two_new_stacks_have_networks_that_could_be_joined(empty):
    for name in ("one", "two"):
        run("init", name, "--site", "here=lab/here")
    one, two = (load_file(empty / f"Pulumi.{name}.yaml", known_clouds()).overlay for name in ("one", "two"))
    assert not one.ipv4.overlaps(two.ipv4) and not one.ipv6.overlaps(two.ipv6)


def test_mistakes_in_the_options_write_no_file(empty):
    assert "operators" in str(run("init", "mine", "--site", "paris=linode/fr-par").exception)
    assert "--site" in str(run("init", "mine", "--site", "paris").exception)
    assert not list(empty.iterdir())


def test_the_wizard_asks_again_until_an_answer_is_one(empty):
    answers = [
        "nonsense", "10.50.0.0/16", "",  # the networks
        "web, db",
        "Paris", "paris", "gcp", "linode", "fr-paris", "fr-par", "2", "web-1:shop", "web-1:web db-1:db:private",
        "y", "office", "byo", "n", "", "web-2:web", "admin", f"admin@192.0.2.9 {HOST_KEY} admin@office",
        "n",
        "203.0.113.7", "y",
    ]  # fmt: skip
    told = run("init", "mine", answer="\n".join(answers) + "\n")
    assert told.exit_code == 0, told.output
    found = load_file(empty / "Pulumi.mine.yaml", known_clouds())
    assert str(found.overlay.ipv4) == "10.50.0.0/16" and [str(prefix) for prefix in found.operators] == [
        "203.0.113.7/32"
    ]
    assert {host.name: host.site for host in found.hosts} == {"web-1": "paris", "db-1": "paris", "web-2": "office"}
    office = next(site for site in found.sites if site.name == "office")
    assert office.hubs_of == "paris" and office.hosts[0].machine.host_key == HOST_KEY


def test_who_says_no_at_the_end_has_no_file(empty):
    answers = ["", "", "web", "here", "lab", "here", "1", "", "n", "n"]
    assert run("init", "mine", answer="\n".join(answers) + "\n").exit_code == 1
    assert not list(empty.iterdir())
