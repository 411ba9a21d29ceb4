"""The examples of programs that use the package, on real machines, with nothing of the work tree but the engine."""

import json

import pytest

from tests.library.outside import Outside, Program

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    return Outside(tmp_path_factory.mktemp("outside"))


@pytest.fixture
def program(outside, request):
    example, languages = request.param
    one = Program(outside, example, "example-test", languages)
    one.sweep()  # of a run that was killed
    try:
        yield one
    finally:
        one.sweep()


def reads(program, machine, url):
    """Return what a machine gets from a server on the overlay."""
    code = f"import urllib.request as u; print(u.urlopen('{url}', timeout=5).read().decode())"
    return program.on(machine, "python3", "-c", code)


@pytest.mark.parametrize("program", [("python", ())], indirect=True)
def test_a_python_program_serves_a_page_on_its_mesh(program):
    program.pulumi("stack", "init", program.stack)
    program.pulumi("up", "--yes", "--skip-preview", "-s", program.stack)
    told = program.outputs()
    assert told["url"] == "http://10.121.1.1:8080/"
    assert reads(program, "reader-1", told["url"]).stdout.strip() == "served in us-west-2"
    assert reads(program, "web-1", told["url"]).returncode == 0
    assert reads(program, "paris-a", told["url"]).returncode != 0, "the service is open to readers only"
    again = program.pulumi("up", "--yes", "--skip-preview", "-s", program.stack)
    assert "unchanged" in again and "updated" not in again and "replaced" not in again, again
    program.pulumi("destroy", "--yes", "--skip-preview", "-s", program.stack)


@pytest.mark.parametrize("program", [("yaml", ("yaml",))], indirect=True)
def test_a_yaml_program_gets_the_package_and_makes_a_mesh(program):
    written = (program.directory / "Pulumi.yaml").read_text()
    (program.directory / "Pulumi.yaml").write_text(written.replace("packages:\n  vcubev: vcubev@0.1.0\n", ""))
    program.pulumi("package", "add", str(program.plugin))
    assert "vcubev: vcubev@0.1.0" in (program.directory / "Pulumi.yaml").read_text(), "as the example has it"
    program.pulumi("stack", "init", program.stack)
    program.pulumi("up", "--yes", "--skip-preview", "-s", program.stack)
    told = program.outputs()
    assert told["database"] == "10.120.2.1" and told["hubs"]["east/a"]["ssh"]["hostKey"].startswith("ssh-ed25519 ")
    reached = program.on("web-1", "ping", "-q", "-c1", "-w10", told["database"])
    assert reached.returncode == 0, reached.stdout
    kept = json.loads(program.pulumi("stack", "export", "-s", program.stack))
    assert "PRIVATE KEY" not in json.dumps(kept), "a secret's way through another language"
    again = program.pulumi("up", "--yes", "--skip-preview", "-s", program.stack)
    assert "unchanged" in again and "updated" not in again and "replaced" not in again, again
    program.pulumi("destroy", "--yes", "--skip-preview", "-s", program.stack)
