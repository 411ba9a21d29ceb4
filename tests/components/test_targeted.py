"""Which hosts a run of the engine is about: what is its target and not declared would be deleted."""

import pytest

from components.clouds import known_clouds
from components.model.stackfile import load
from components.targeted import engine_arguments, only, targets_of
from tests.components.declared import lab_values


def hosts(*more):
    values = lab_values()
    entries = values["sites"]["paris"]["hosts"]
    for number, (name, fields) in enumerate(more):
        entries[name] = {"role": "web", "id": 200 + number, **fields}
    return load(values, known_clouds()).hosts


HOSTS = hosts(("web-9", {}), ("web-9-b", {}), ("laptop", {"unmanaged": True}))
NAMED = {host.name: host for host in HOSTS}


def about(*options, command="up", settings=None):
    return only(["/opt/pulumi", command, "-s", "lab", *options], settings or {}, "lab", HOSTS)


def test_a_run_without_targets_is_about_all():
    assert about() is None and only([], {}, "lab", HOSTS) is None


def test_a_run_is_about_its_targets_and_about_hosts_that_these_fit_too():
    targets = targets_of("lab", [NAMED["web-9"]])
    assert targets == [
        "--target=**$vcubev:index:Host**::lab-web-9",
        "--target=**$vcubev:index:Host$**::lab-web-9-*",
    ]
    assert about(*targets) == {"web-9", "web-9-b"}
    assert about(*targets_of("lab", [NAMED["web-9-b"], NAMED["laptop"]]), command="preview") == {"web-9-b", "laptop"}


@pytest.mark.parametrize(
    "more",
    [
        ["--target=**"],
        ["--target", "**"],
        ["-t", "**"],
        ["-yt", "**"],
        ["-t**"],
        ["--target-dependents"],
        ["--exclude=**web-1"],
        ["--exclude", "**web-1"],
        ["--replace=urn:x"],
        ["--target-replace", "urn:x"],
    ],
)
def test_any_other_target_makes_it_a_run_about_all(more):
    assert about(*targets_of("lab", [NAMED["web-9"]]), *more) is None
    assert about(*more) is None


def test_half_of_a_hosts_targets_or_another_stacks_make_it_a_run_about_all():
    assert about(targets_of("lab", [NAMED["web-9"]])[0]) is None
    assert about(*targets_of("lab2", [NAMED["web-9"]])) is None


@pytest.mark.parametrize("command", ["destroy", "refresh", "-C"])
def test_only_up_and_preview_leave_hosts_out(command):
    assert about(*targets_of("lab", [NAMED["web-9"]]), command=command) is None


def test_options_of_the_engines_environment_count_as_well():
    targets = targets_of("lab", [NAMED["web-9"]])
    assert about(*targets, settings={"PULUMI_OPTION_TARGET": "**"}) is None
    assert about(*targets, settings={"PULUMI_OPTION_EXCLUDE_DEPENDENTS": "true"}) is None
    assert about(*targets, settings={"PULUMI_OPTION_REFRESH": "true"}) is not None


def test_a_program_that_no_engine_runs_is_about_all():
    assert only(engine_arguments(), {}, "lab", HOSTS) is None
