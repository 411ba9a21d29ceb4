"""`scripts/policy` on a stack of its own."""

import copy
import json

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from scripts.cli import __main__ as cli
from scripts.cli import stack as stacks
from tests.model.policy_stack import BASE

TESTS = [
    {"from": "web-1", "to": "ldap-1", "port": "389/tcp", "allowed": True},
    {"from": "db-1", "to": "ldap-1", "port": "389/tcp", "allowed": False},
]


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(stacks, "STACKS", tmp_path)

    def call(*arguments, tests=TESTS):
        values = {f"vcubev:{key}": value for key, value in copy.deepcopy({**BASE, "tests": tests}).items()}
        with (tmp_path / "Pulumi.mine.yaml").open("w") as file:
            YAML().dump({"config": values}, file)
        return CliRunner().invoke(
            cli.app, [*arguments, "--stack", "mine"] if arguments[0] == "policy" else [*arguments]
        )

    return call


def test_explain_names_the_rule(run):
    told = run("policy", "explain", "web-1", "ldap-1", "389/tcp")
    assert told.exit_code == 0 and "allowed: service ldap: role web to role ldap" in told.stdout.replace("\n", " ")


def test_explain_says_dropped_by_its_exit_code_too(run):
    told = run("policy", "explain", "db-1", "10.100.2.1", "389/tcp")
    assert told.exit_code == 3 and "dropped" in told.stdout


def test_explain_refuses_what_is_no_member_and_no_port_at_once(run):
    told = run("policy", "explain", "web-7", "ldap-1", "389")
    assert told.exit_code == 2 and "'web-7' is no member" in told.stderr and "'389' is no port" in told.stderr
    assert "stack file" not in told.stderr, "it is right; the question is not"


def test_the_stack_files_own_assertions_are_tried(run):
    assert run("policy", "test").exit_code == 0
    wrong = run("policy", "test", tests=[{**TESTS[0], "allowed": False}])
    assert wrong.exit_code == 3 and "FAILED tests.0" in wrong.stdout


def test_programs_are_told_the_same(run):
    verdict = run("policy", "explain", "db-1", "ldap-1", "389/tcp", "--json")
    assert verdict.exit_code == 3 and json.loads(verdict.stdout)["allowed"] is False
    wrong = run("policy", "test", "--json", tests=[{**TESTS[0], "allowed": False}])
    assert wrong.exit_code == 3 and [a["allowed"] is a["expected"] for a in json.loads(wrong.stdout)] == [False, False]


def test_up_touches_nothing_where_an_assertion_fails(run, monkeypatch):
    monkeypatch.setattr(stacks.Stack, "engine", lambda *arguments, **options: pytest.fail("the engine was called"))
    told = run("up", "mine", tests=[{**TESTS[1], "allowed": True}])
    assert told.exit_code == 2
