"""Which stack's machine the lab's console takes, where several are up."""

import pytest

from lab import cli
from lab.records import Stack
from lab.system import LabError


@pytest.fixture
def up(monkeypatch):
    machines = {name: {f"{name}-web-1": None} for name in ("lab3", "mine")}
    stacks = [Stack.model_construct(project="vcubev", name=name, machines=own) for name, own in machines.items()]
    monkeypatch.setattr(cli, "known_stacks", lambda: stacks)
    monkeypatch.setattr(cli, "load", lambda project, name: Stack(project=project, name=name))
    monkeypatch.delenv("VCUBEV_STACK", raising=False)
    return stacks


def test_of_several_stacks_the_shell_s_own_is_meant_as_it_is_by_all_other_commands(up, monkeypatch):
    monkeypatch.setenv("VCUBEV_STACK", "mine")
    assert cli._stack(None).name == "mine" and cli._machine(cli._stack(None), "web-1") == "mine-web-1"
    assert cli._stack("lab3").name == "lab3"


def test_where_the_stack_that_is_meant_has_no_machine_those_that_have_are_named(up):
    with pytest.raises(LabError, match=r"stack lab has no machine here\. Give --stack: lab3, mine\."):
        cli._machine(cli._stack(None), "web-1")


def test_the_only_stack_need_not_be_named(up):
    del up[0]
    assert cli._stack(None).name == "mine"
