"""How files travel to a machine's installer."""

import json
import os
import subprocess

from components.model import bundle
from components.model.files import FileSpec

SHOWS = "import json\ndef main(verb, bundle):\n    print(json.dumps([verb, bundle]))\n"
FILES = {
    "/etc/own": FileSpec("own\n", "0600", ("restart own.service",)),
    "/etc/alike": FileSpec("alike: ü\n", common=True),
}


def test_a_machine_unpacks_what_was_packed(tmp_path, monkeypatch):
    monkeypatch.setattr(bundle, "MODULES", {"shows": SHOWS})
    text = bundle.pack("host", FILES, ("own.service",), True, ("fping",))
    sudo = tmp_path / "sudo"
    sudo.write_text('#!/bin/sh\nexec "$@"\n')
    sudo.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = ["sh", "-c", bundle.RUN_INSTALLER + "install"]
    done = subprocess.run(command, input=text, env=environment, capture_output=True, text=True, check=True)
    verb, got = json.loads(done.stdout)
    assert verb == "install" and (got["name"], got["units"], got["rolling"]) == ("host", ["own.service"], True)
    assert got["packages"] == ["fping"]
    for path, spec in FILES.items():
        expected = {"content": spec.content, "mode": spec.mode, "on_change": list(spec.on_change)}
        assert got["files"][path] == expected == bundle.unpack(text)["files"][path]


def test_a_bundle_is_the_same_text_from_every_computer():
    """A pinned text: another compression, or another build of it, would change every machine of every stack."""
    packed = json.loads(bundle.pack("host", {"/etc/alike": FileSpec("x" * 100, common=True)}, (), False))
    assert packed["common"].startswith("QlpoOTFBWSZTW"), "bzip2, level 9"
    assert packed == json.loads(bundle.pack("host", {"/etc/alike": FileSpec("x" * 100, common=True)}, (), False))
