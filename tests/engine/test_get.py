"""How a computer gets the engine. The build itself is what the first `up` on a new computer does."""

import hashlib
import importlib
import io
import json
import os
import shutil
import tarfile
from pathlib import Path

import pytest

PULUMI = shutil.which("pulumi")


@pytest.fixture
def get(tmp_path, monkeypatch):
    """The module with a cache of its own and nothing on PATH."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    module = importlib.reload(importlib.import_module("engine.get"))
    monkeypatch.setattr(module, "reachable", lambda host: False)
    return module


def program(path, answer, plugins="[]"):
    path.write_text(f"#!/bin/sh\ncase $1 in version) echo {answer};; plugin) echo '{plugins}';; esac\n")
    path.chmod(0o755)


def own(tmp_path, version, language_host=True):
    program(tmp_path / "bin" / "pulumi", version)
    if language_host:
        program(tmp_path / "bin" / "pulumi-language-python", "")


def archive(version):
    """Return a release as it is published, and its sum."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz") as files:
        for name in ("pulumi", "pulumi-language-python", "pulumi-language-python-exec"):
            content = f"#!/bin/sh\necho v{version}\n".encode()
            entry = tarfile.TarInfo(f"pulumi/{name}")
            entry.size, entry.mode = len(content), 0o755
            files.addfile(entry, io.BytesIO(content))
    return raw.getvalue(), hashlib.sha256(raw.getvalue()).hexdigest()


def publish(get, monkeypatch, content, digest):
    name = f"pulumi-v{get.VERSION}-linux-x64.tar.gz"
    monkeypatch.setattr(get, "reachable", lambda host: True)
    answers = {"checksums.txt": f"{digest}  {name}\n".encode(), name: content}
    monkeypatch.setattr(get, "fetched", lambda url: next(a for end, a in answers.items() if url.endswith(end)))


def test_the_users_own_engine_is_used_if_it_is_new_enough(get, tmp_path):
    own(tmp_path, "v3.999.0")
    assert get.engine_directory() == tmp_path / "bin"


@pytest.mark.parametrize("version", ["v3.100.0", "v2.999.0", "nonsense"])
def test_an_engine_that_is_too_old_is_not_used(get, tmp_path, monkeypatch, version):
    own(tmp_path, version)
    publish(get, monkeypatch, *archive(get.VERSION))
    assert get.engine_directory() == get.ENGINE


def test_an_engine_without_its_language_host_is_not_used(get, tmp_path, monkeypatch):
    own(tmp_path, "v3.999.0", language_host=False)
    publish(get, monkeypatch, *archive(get.VERSION))
    assert get.engine_directory() == get.ENGINE


def test_the_official_release_is_taken_where_it_can_be_had_and_only_once(get, monkeypatch):
    publish(get, monkeypatch, *archive(get.VERSION))
    assert (get.engine_directory() / "pulumi").stat().st_mode & 0o111
    monkeypatch.setattr(get, "fetched", lambda url: pytest.fail("fetched twice"))
    assert get.engine_directory() == get.ENGINE


def test_a_release_that_is_not_what_was_published_is_never_installed(get, monkeypatch):
    content, _ = archive(get.VERSION)
    publish(get, monkeypatch, content, "0" * 64)
    with pytest.raises(SystemExit, match="SHA-256"):
        get.engine_directory()
    assert not get.ENGINE.exists()


def test_with_no_download_and_no_go_the_user_is_told_what_is_needed(get, monkeypatch):
    monkeypatch.setattr(get.shutil, "which", lambda name: None)
    with pytest.raises(SystemExit, match=r"Go 1\.26"):
        get.engine_directory()
    assert not get.ENGINE.exists()


def plugins_of(get, tmp_path, *official):
    """Let the engine have these plugins in the SDK's versions, and return its program."""
    have = [{"name": name, "version": version} for name, version in get.locked_versions(official).items()]
    program(tmp_path / "bin" / "pulumi", "v3.999.0", plugins=json.dumps(have))
    return tmp_path / "bin" / "pulumi"


def names(directories):
    return {directory.name for directory in directories}


def test_plugins_that_cannot_be_fetched_are_named_and_not_asked_for_at_every_run(get, tmp_path, monkeypatch):
    pulumi, asked = plugins_of(get, tmp_path), []
    versions = get.locked_versions(get.PLUGINS)
    assert set(versions) == {"tls", "command"}
    monkeypatch.setattr(get, "reachable", lambda host: asked.append(host) or False)
    for _ in range(2):
        assert get.missing_plugins(pulumi, versions) == ["tls", "command"]
    assert len(asked) == 2, "both servers once; the second run remembers"


def test_official_plugins_win_over_stand_ins_one_by_one(get, tmp_path):
    pulumi = plugins_of(get, tmp_path, "tls", "aws")
    assert names(get.stand_ins(pulumi, ["aws", "linode"])) == {"command", "linode"}, "PATH would hide what is installed"
    everything = plugins_of(get, tmp_path, "tls", "command", "aws", "linode")
    assert get.stand_ins(everything, ["aws", "linode"]) == []


def test_a_plugin_of_another_version_is_none_as_the_engine_would_not_take_it(get, tmp_path):
    program(tmp_path / "bin" / "pulumi", "v3.999.0", plugins='[{"name": "aws", "version": "1.0.0"}]')
    assert "aws" in names(get.stand_ins(tmp_path / "bin" / "pulumi", ["aws"]))


def test_a_plugin_on_the_users_own_path_wins_even_where_stand_ins_are_on_it_already(get, tmp_path, monkeypatch):
    pulumi = plugins_of(get, tmp_path)
    hidden = [str(get.STAND_INS / name) for name in ("tls", "aws")]
    monkeypatch.setenv("PATH", ":".join([*hidden, *os.environ["PATH"].split(":")]))
    program(tmp_path / "bin" / "pulumi-resource-aws", "")
    assert names(get.stand_ins(pulumi, ["aws"])) == {"tls", "command", "linode"}


def test_plugins_of_the_stacks_clouds_are_fetched_and_no_others(get, tmp_path, monkeypatch):
    log = tmp_path / "installed"
    pulumi = tmp_path / "bin" / "pulumi"
    pulumi.write_text(f"#!/bin/sh\ncase $2 in ls) echo '[]';; install) echo $4 >>{log};; esac\n")
    pulumi.chmod(0o755)
    monkeypatch.setattr(get, "reachable", lambda host: True)
    assert get.stand_ins(pulumi, ["aws", "lab", "byo"]) == [], "the official ones can be had"
    assert log.read_text().split() == ["tls", "command", "aws"]


def test_a_cloud_that_left_the_stack_file_can_still_be_cleared_away(get, tmp_path):
    """Its resources are in the state until the next `up`."""
    assert "aws" in names(get.stand_ins(plugins_of(get, tmp_path), ["linode"]))


@pytest.mark.skipif(PULUMI is None, reason="no engine on PATH")
def test_the_engine_itself_tells_of_an_installed_plugin(get, tmp_path, monkeypatch):
    version = get.locked_versions(["aws"])["aws"]
    plugin = tmp_path / "home" / "plugins" / f"resource-aws-v{version}"
    plugin.mkdir(parents=True)
    program(plugin / "pulumi-resource-aws", "")
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "home"))
    assert names(get.stand_ins(Path(PULUMI), ["aws"])) == {"tls", "command", "linode"}
