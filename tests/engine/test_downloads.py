"""Whatever set-up fetches is what this work tree names by its sum, or nothing is installed.

The engine's official release has its own tests in test_get.py, the lab's image in tests/lab/test_image_download.py.
"""

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import tomllib
import zipfile
from pathlib import Path

import pytest

from engine import get

ROOT = Path(__file__).parents[2]
TAMPERED = "#!/bin/sh\necho tampered\n"


def wheel(directory, version):
    """Write a package that calls itself uv of a version and has another program in it."""
    info = f"uv-{version}.dist-info"
    files = {
        f"uv-{version}.data/scripts/uv": TAMPERED,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: uv\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: false\nTag: py3-none-any\n",
    }
    rows = []
    for name, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        rows.append(f"{name},sha256={digest},{len(text)}")
    files[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,", ""])
    with zipfile.ZipFile(directory / f"uv-{version}-py3-none-any.whl", "w") as packed:
        for name, text in files.items():
            packed.writestr(name, text)


def test_a_uv_that_is_not_the_one_named_here_is_never_installed(tmp_path):
    version = re.search(r"uv==([0-9.]+)", (ROOT / "engine" / "uv.txt").read_text())[1]
    wheel(tmp_path, version)
    path = os.pathsep.join(p for p in os.environ["PATH"].split(os.pathsep) if not (Path(p) / "uv").exists())
    own = {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "PATH": path,
    }
    command = ["bash", "-c", '. scripts/setup.sh && ensure_uv && echo "installed $uv"']
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **own}, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0 and "installed" not in done.stdout, done.stdout
    assert "DO NOT MATCH THE HASHES" in done.stderr and "pip could not install uv" in done.stderr, done.stderr
    assert TAMPERED not in [file.read_text(errors="replace") for file in tmp_path.rglob("uv") if file.is_file()]


def test_every_python_package_is_named_with_its_sum():
    """uv checks them, as it is run with --frozen."""
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    files = {
        f"{package['name']} {file['url'].rpartition('/')[2]}": file.get("hash", "")
        for package in lock["package"]
        if "registry" in package["source"]
        for file in [*package.get("wheels", ()), *([package["sdist"]] if "sdist" in package else ())]
    }
    assert len(files) > 100
    assert not {name for name, digest in files.items() if not re.fullmatch("sha256:[0-9a-f]{64}", digest)}
    others = {package["name"] for package in lock["package"] if "registry" not in package["source"]}
    assert others == {"vcubev"}


MODULE, MODULE_VERSION = "example.com/greeting", "v1.0.0"


def publish(proxy, source):
    """Write a module as a Go module proxy serves it."""
    served = proxy / MODULE / "@v"
    served.mkdir(parents=True, exist_ok=True)
    files = {"go.mod": f"module {MODULE}\n\ngo 1.20\n", "greeting.go": source}
    (served / f"{MODULE_VERSION}.mod").write_text(files["go.mod"])
    (served / f"{MODULE_VERSION}.info").write_text(json.dumps({"Version": MODULE_VERSION}))
    with zipfile.ZipFile(served / f"{MODULE_VERSION}.zip", "w") as packed:
        for name, text in files.items():
            packed.writestr(f"{MODULE}@{MODULE_VERSION}/{name}", text)


@pytest.fixture
def builder(tmp_path, monkeypatch):
    """A program of ours that needs a module, with the module's sums written down, and a proxy of the test's."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("go is not installed")
    program = tmp_path / "program"
    program.mkdir()
    (program / "go.mod").write_text(f"module program\n\ngo 1.20\n\nrequire {MODULE} {MODULE_VERSION}\n")
    (program / "main.go").write_text(f'package main\n\nimport "{MODULE}"\n\nfunc main() {{ println(greeting.Text) }}\n')
    settings = {"GOPROXY": f"file://{tmp_path / 'proxy'}", "GOSUMDB": "off", "GOTOOLCHAIN": "local"}
    for name, value in {**settings, "GOCACHE": str(tmp_path / "built"), "GOFLAGS": "-modcacherw"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(get, "HERE", tmp_path)

    def build(modules, source):
        publish(tmp_path / "proxy", source)
        monkeypatch.setenv("GOMODCACHE", str(tmp_path / modules))
        get.go_build("program", "program", tmp_path / "made", "")
        return subprocess.run([tmp_path / "made"], capture_output=True, text=True).stderr.strip()

    publish(tmp_path / "proxy", 'package greeting\n\nconst Text = "right"\n')
    tidy = {**os.environ, "GOMODCACHE": str(tmp_path / "first"), "GOFLAGS": "-mod=mod -modcacherw"}
    subprocess.run(["go", "mod", "tidy"], cwd=program, env=tidy, check=True, capture_output=True)
    return build


def test_a_go_module_that_is_not_the_one_named_here_is_never_built(builder, tmp_path):
    assert builder("second", 'package greeting\n\nconst Text = "right"\n') == "right"
    (tmp_path / "made").unlink()
    with pytest.raises(SystemExit, match="checksum mismatch"):
        builder("third", 'package greeting\n\nconst Text = "tampered"\n')
    assert not (tmp_path / "made").exists()


def test_a_go_module_that_nobody_has_named_is_never_fetched(builder, tmp_path):
    (tmp_path / "program" / "go.sum").write_text("")
    with pytest.raises(SystemExit, match=r"missing go\.sum entry"):
        builder("second", 'package greeting\n\nconst Text = "right"\n')
