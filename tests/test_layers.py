"""The arrows between the layers (shared design), read from the import statements."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COMPONENTS = ROOT / "components"
# module -> the modules of components/ that it may import
ARROWS = {
    "mesh": {"site", "link", "host", "unmanaged", "machine", "pki", "clouds", "model"},
    "site": {"hub", "host", "clouds", "pki", "model"},
    "link": {"hub", "model"},
    "host": {"hub", "machine", "pki", "clouds", "model"},
    "unmanaged": {"pki", "model"},
    "hub": {"machine", "pki", "clouds", "model"},
    "machine": {"pki", "clouds", "model"},
    "pki": {"revocation", "model"},
    "revocation": {"model"},
    "lean": set(),
    "targeted": {"model"},
    "foreign": {"mesh", "machine", "clouds", "model"},
    "serve": {"foreign", "lean"},
    "clouds": {"clouds", "model"},
    "model": {"model"},
}
CLOUD_SDKS = {"pulumi_aws", "pulumi_linode", "pulumi_hcloud", "boto3", "linode_api4"}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def layer(path: Path) -> str:
    return path.relative_to(COMPONENTS).parts[0].removesuffix(".py")


SOURCES = [path for path in sorted(COMPONENTS.rglob("*.py")) if "templates" not in path.parts]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_layer_imports_only_what_lies_below_it(path):
    if path.stat().st_size == 0:
        return
    inside = {name.split(".")[1] for name in imports(path) if name.startswith("components.")}
    forbidden = inside - ARROWS[layer(path)]
    assert not forbidden, f"{path.relative_to(ROOT)} reaches up or sideways to {forbidden}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_a_clouds_own_module_knows_its_sdk(path):
    sdks = {name.split(".")[0] for name in imports(path)} & CLOUD_SDKS
    assert not sdks or path.parent.name == "clouds", (
        f"{path.name} speaks to {sdks}; another cloud could not take its place"
    )


def test_the_model_imports_with_no_engine_installed():
    program = (
        "import sys; sys.modules['pulumi'] = None\n"
        "import components.model.stackfile, components.model.render, components.model.tlscrypt"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_no_source_file_is_longer_than_a_reader_can_hold():
    files = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    long = {name: lines for name in files.split() if (lines := len((ROOT / name).read_text().splitlines())) > 300}
    assert not long, "split it: a file above 300 lines has more than one subject"


def test_the_program_itself_is_a_few_lines():
    assert len((ROOT / "__main__.py").read_text().splitlines()) < 20
