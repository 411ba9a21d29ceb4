"""Files that the `command` stand-in copies to a machine, finds after a command, and passes to the engine."""

from __future__ import annotations

import re

import pytest
from google.protobuf import struct_pb2

from engine.standins import local_run, servicer
from engine.standins.properties import ASSET, KIND_KEY, SIGNATURE_KEY, plain, to_property

LOCAL = "command:local:Command"
COPY = "command:remote:CopyToRemote"


def test_a_text_and_a_directory_are_copied(command, machine, tmp_path):
    connection = machine.connection()
    target = tmp_path / "there" / "note.txt"
    source = {KIND_KEY: ASSET, "text": "hello\n", "hash": "1"}
    state = command.create(COPY, connection=connection, source=source, remotePath=str(target))
    assert target.read_text() == "hello\n"
    assert command.diff(COPY, state, connection=connection, source=source, remotePath=str(target)).changes is False
    source = {**source, "text": "changed\n", "hash": "2"}
    found = command.diff(COPY, state, connection=connection, source=source, remotePath=str(target))
    assert (found.changes, found.replaces) == (True, [])
    command.update(COPY, state, connection=connection, source=source, remotePath=str(target))
    assert target.read_text() == "changed\n"

    (tmp_path / "tree" / "sub").mkdir(parents=True)
    (tmp_path / "tree" / "sub" / "file").write_text("x")
    archive = {KIND_KEY: servicer.ARCHIVE, "path": str(tmp_path / "tree"), "hash": "3"}
    command.create(COPY, connection=connection, source=archive, remotePath=str(tmp_path / "copies"))
    assert (tmp_path / "copies" / "tree" / "sub" / "file").read_text() == "x"


def test_assets_are_found_by_pattern_and_survive_a_refresh(command, tmp_path):
    create = "mkdir -p src/deep; touch a.txt src/b.js src/deep/c.js src/secret.js"
    patterns = ["*.txt", "src/**.js", "!**secret*"]
    made = command.create(LOCAL, create=create, dir=str(tmp_path), assetPaths=patterns)
    assert sorted(plain(made["assets"])) == ["a.txt", "src/b.js", "src/deep/c.js"]
    # The engine sends old assets without their paths.
    elided = {path: {KIND_KEY: ASSET, "hash": found["hash"]} for path, found in plain(made["assets"]).items()}
    read = command.refresh(LOCAL, {**made, "assets": to_property(elided)})
    assert plain(read["assets"]) == plain(made["assets"])


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("*.js", "a/b.js", False),
        ("**.js", "a/b.js", True),
        ("{a,b}/?.[!x]s", "b/c.js", True),
        ("{a,b}/?.[!j]s", "b/c.js", False),
        (r"a\*", "a*", True),
        ("a.b", "axb", False),
    ],
)
def test_a_pattern_matches_as_in_the_official_plugin(pattern, path, matches):
    assert bool(re.fullmatch(local_run.glob_pattern(pattern), path)) is matches


def test_an_asset_passes_the_wire_with_its_hash():
    asset = struct_pb2.Struct()
    asset.update({"source": [{SIGNATURE_KEY: ASSET, "hash": "h", "text": "t"}], "s": {SIGNATURE_KEY: "secret"}})
    before = struct_pb2.Struct()
    before.CopyFrom(asset)
    servicer.rename_signatures(asset, SIGNATURE_KEY, KIND_KEY)
    assert dict(asset["source"][0]) == {KIND_KEY: ASSET, "hash": "h", "text": "t"}
    assert SIGNATURE_KEY in asset["s"], "secrets keep their mark"
    servicer.rename_signatures(asset, KIND_KEY, SIGNATURE_KEY)
    assert asset == before
