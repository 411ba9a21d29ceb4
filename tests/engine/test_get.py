"""How a computer gets the engine. The build itself is what the first `up` on a new computer does."""

import hashlib
import importlib
import io
import tarfile

import pytest


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


def test_plugins_that_cannot_be_fetched_are_named_and_not_asked_for_at_every_run(get, tmp_path, monkeypatch):
    own(tmp_path, "v3.999.0")
    versions = get.locked_versions()
    assert set(versions) == {"tls", "command"}
    asked = []
    monkeypatch.setattr(get, "reachable", lambda host: asked.append(host) or False)
    for _ in range(2):
        assert get.missing_plugins(tmp_path / "bin" / "pulumi", versions) == ["tls", "command"]
    assert len(asked) == 2, "both servers once; the second run remembers"


def test_official_plugins_make_stand_ins_needless(get, tmp_path):
    versions = get.locked_versions()
    have = [f'{{"name": "{name}", "version": "{version}"}}' for name, version in versions.items()]
    program(tmp_path / "bin" / "pulumi", "v3.999.0", plugins=f"[{', '.join(have)}]")
    assert get.missing_plugins(tmp_path / "bin" / "pulumi", versions) == []
