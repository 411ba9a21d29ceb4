"""The package away from the work tree: what is in the wheel, and what a program of somebody else's declares by it."""

import json
import shutil
import subprocess
import zipfile

import pytest

from tests.lab.worktree import ROOT
from tests.library.outside import EXAMPLES

MOCKED = ROOT / "tests" / "library" / "mocked.py"


def test_the_wheel_has_all_that_a_machine_gets_and_all_that_the_lab_needs(outside):
    packed = set(zipfile.ZipFile(outside.wheel).namelist())
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "components", "lab"]
    files = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert not {file for file in files if (ROOT / file).is_file()} - packed


def test_a_command_that_needs_a_checkout_says_so(outside):
    done = subprocess.run([outside.python.parent / "vcubev", "up"], capture_output=True, text=True)
    assert done.returncode == 1 and "Install a checkout" in done.stderr


def test_the_model_needs_no_engine(outside):
    program = (
        "import sys; sys.modules['pulumi'] = None; import components, components.model.stackfile; print(components)"
    )
    done = outside.run("-c", program)
    assert done.returncode == 0, done.stderr
    assert str(outside.directory) in done.stdout, "this was the work tree's"


@pytest.mark.parametrize("cloud", ["lab", "aws"])
def test_the_python_example_gives_each_region_its_own_provider_instance(outside, cloud):
    shutil.copy(MOCKED, outside.directory)
    config = json.dumps({"mesh-in-python:cloud": cloud, "mesh-in-python:operators": '["192.0.2.0/24"]'})
    done = outside.run(str(outside.directory / MOCKED.name), str(EXAMPLES / "python"), config)
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    sites = {name: one["provider"] for name, one in made.items() if one["type"].startswith(f"{cloud}:")}
    for site in ("oregon", "paris"):
        providers = {provider for name, provider in sites.items() if f"-{site}-" in name}
        assert len(providers) == 1 and providers.pop().partition("::")[0].endswith(site), sites
    assert made["page"]["type"] == "command:remote:Command", "the program's own, beside the mesh"
