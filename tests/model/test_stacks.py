"""The stack files that the project ships."""

import subprocess
from pathlib import Path

import pytest

from components.clouds import known_clouds
from components.model.stackfile import load_file

CLOUDS = known_clouds()
STACKS = sorted((Path(__file__).parents[2] / "stacks").glob("Pulumi.*.yaml"))


@pytest.mark.parametrize("file", STACKS, ids=lambda file: file.stem)
def test_every_shipped_stack_file_is_right(file):
    assert load_file(file, CLOUDS).hosts


def test_the_lab_stack_is_the_one_that_the_readme_draws():
    topology = load_file(STACKS[0].with_name("Pulumi.lab.yaml"), CLOUDS)
    assert [site.name for site in topology.sites] == ["oregon", "paris"]
    assert all(len(site.hubs) == 1 and len(site.hosts) == 2 for site in topology.sites)
    assert all([host.private for host in site.hosts].count(True) == 1 for site in topology.sites)


def test_no_shipped_stack_file_carries_the_salt_of_somebodys_state():
    shipped = ["git", "grep", "-l", "encryptionsalt", "HEAD", "--", "."]
    found = subprocess.run(shipped, cwd=STACKS[0].parent, capture_output=True, text=True)
    assert found.stdout == "", "an `up` elsewhere would ask for a passphrase that nobody has"
