"""Finds, downloads or builds the Pulumi engine, and tells whether stand-in plugins are needed.

Prints the directories that belong in front of PATH, one a line; progress goes to stderr. Needs nothing but Python's
own library, since it runs before there is any environment. All that it makes lies in the cache and is made once.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vcubev"
RELEASES = "https://github.com/pulumi/pulumi/releases/download"
# Where nothing answers in this time, the download would not be worth waiting for.
CONNECT_TIMEOUT_SECONDS = 4
PLUGIN_INSTALL_TIMEOUT_SECONDS = 300
PLUGINS = ("tls", "command")
# An unreachable download is tried again after this time.
RETRY_SECONDS = 24 * 3600
LANGUAGE_HOST_FILES = (("cmd", "pulumi-language-python-exec"), ("dist", "pulumi-resource-pulumi-python"))


def say(text: str) -> None:
    print(f"engine: {text}", file=sys.stderr, flush=True)


def pinned_version(module: str, directory: str) -> str:
    """Return the version of a module in one of our go.mod files, e.g. "3.259.0"."""
    found = re.search(rf"{re.escape(module)} v(\S+)", (HERE / directory / "go.mod").read_text())
    if not found:
        raise SystemExit(f"engine/{directory}/go.mod does not name {module}")
    return found[1]


VERSION = pinned_version("github.com/pulumi/pulumi/pkg/v3", "cli")
ENGINE = CACHE / "engine" / VERSION / "bin"


def new_enough(pulumi: str) -> bool:
    """Tell whether a CLI is of the pinned version or newer."""
    try:
        answer = subprocess.run([pulumi, "version"], capture_output=True, text=True, timeout=30).stdout
    except (OSError, subprocess.TimeoutExpired):
        return False
    found = re.match(r"v(\d+)\.(\d+)\.(\d+)", answer)
    return bool(found) and tuple(map(int, found.groups())) >= tuple(map(int, VERSION.split(".")))


def engine_directory() -> Path:
    """Return the directory of a usable `pulumi`: the user's own, else the cache's."""
    own = shutil.which("pulumi")
    if own and Path(own).parent != ENGINE and shutil.which("pulumi-language-python") and new_enough(own):
        return Path(own).parent
    if not (ENGINE / "pulumi").exists():
        with locked("engine"):
            if not (ENGINE / "pulumi").exists():
                make_engine()
    return ENGINE


def make_engine() -> None:
    """Fill the cache with CLI and language host, whole or not at all."""
    ENGINE.parent.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=ENGINE.parent.parent))
    try:
        (draft / "bin").mkdir()
        if not downloaded(draft / "bin"):
            built(draft / "bin")
        draft.chmod(0o755)
        shutil.rmtree(ENGINE.parent, ignore_errors=True)
        draft.rename(ENGINE.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def reachable(host: str) -> bool:
    """Tell whether a server answers at all."""
    try:
        socket.create_connection((host, 443), CONNECT_TIMEOUT_SECONDS).close()
    except OSError:
        return False
    return True


def downloaded(target: Path) -> bool:
    """Fetch the official release, checked against its published sum; False where it cannot be had."""
    machine = {"x86_64": "x64", "aarch64": "arm64"}.get(os.uname().machine)
    if machine is None or not reachable("github.com"):
        return False
    name = f"pulumi-v{VERSION}-linux-{machine}.tar.gz"
    say(f"downloading Pulumi {VERSION}")
    try:
        sums = fetched(f"{RELEASES}/v{VERSION}/pulumi-{VERSION}-checksums.txt").decode()
        archive = fetched(f"{RELEASES}/v{VERSION}/{name}")
    except OSError as problem:
        say(f"no download ({problem})")
        return False
    listed = {words[-1]: words[0] for words in map(str.split, sums.splitlines()) if len(words) == 2}
    if hashlib.sha256(archive).hexdigest() != listed.get(name):
        raise SystemExit(f"engine: {name} does not have its published SHA-256; nothing was installed")
    # File by file, under our own names: Debian 12's Python 3.11.2 has no extraction filter yet.
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        for member in files.getmembers():
            if member.isfile() and Path(member.name).name.startswith("pulumi"):
                program = target / Path(member.name).name
                program.write_bytes(files.extractfile(member).read())
                program.chmod(0o755)
    return True


def fetched(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read()


def built(target: Path) -> None:
    """Build CLI and language host from Go modules (docs/adr/0001-engine.md)."""
    if not shutil.which("go"):
        raise SystemExit("engine: there is no `pulumi` and no download, and building one needs Go 1.26 on PATH")
    stamp = f"-X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v{VERSION}"
    go_build("cli", "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi", target / "pulumi", stamp)
    language_host = "github.com/pulumi/pulumi/sdk/v3/python/cmd/pulumi-language-python"
    go_build("language-python", language_host, target / "pulumi-language-python", stamp)
    listing = ["go", "list", "-m", "-f", "{{.Dir}}", "github.com/pulumi/pulumi/sdk/v3"]
    sdk = Path(subprocess.run(listing, cwd=HERE / "cli", check=True, capture_output=True, text=True).stdout.strip())
    for folder, file in LANGUAGE_HOST_FILES:
        shutil.copyfile(sdk / "python" / folder / file, target / file)
        (target / file).chmod(0o755)


def go_build(directory: str, package: str, target: Path, stamp: str) -> None:
    """Build one package, telling now and then that it still goes on."""
    say(f"building {target.name} {VERSION} from Go modules (some minutes, once)")
    command = ["go", "build", "-trimpath", "-ldflags", f"-s -w {stamp}", "-o", str(target), package]
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as log:
        environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly"}
        build = subprocess.Popen(command, cwd=HERE / directory, env=environment, stdout=log, stderr=log)
        while True:
            try:
                code = build.wait(timeout=20)
                break
            except subprocess.TimeoutExpired:
                say(f"  still building {target.name}, {time.monotonic() - started:.0f} s")
        if code:
            log.seek(0)
            raise SystemExit(f"engine: go build of {package} failed:\n{log.read()[-4000:]}")
    say(f"  built {target.name} in {time.monotonic() - started:.0f} s")


def missing_plugins(pulumi: Path, versions: dict[str, str]) -> list[str]:
    """Return the plugins that the engine has not and cannot fetch."""
    listing = subprocess.run([pulumi, "plugin", "ls", "--json"], capture_output=True, text=True, check=True).stdout
    present = {(plugin["name"], plugin["version"]) for plugin in json.loads(listing or "[]")}
    missing = [name for name, version in versions.items() if (name, version) not in present]
    refused = CACHE / "engine" / "plugins-unreachable"
    if not missing or (refused.exists() and time.time() - refused.stat().st_mtime < RETRY_SECONDS):
        return missing
    if reachable("get.pulumi.com") or reachable("api.pulumi.com"):
        for name in tuple(missing):
            say(f"installing the {name} plugin {versions[name]}")
            install = [pulumi, "plugin", "install", "resource", name, versions[name]]
            try:
                done = subprocess.run(install, capture_output=True, timeout=PLUGIN_INSTALL_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                continue
            if done.returncode == 0:
                missing.remove(name)
    if missing:
        refused.parent.mkdir(parents=True, exist_ok=True)
        refused.touch()
    return missing


def locked_versions() -> dict[str, str]:
    """Return the plugins' versions: those of their SDK packages in uv.lock."""
    lock = (HERE.parent / "uv.lock").read_text()
    found = {name: re.search(rf'name = "pulumi-{name}"\nversion = "([^"]+)"', lock) for name in PLUGINS}
    return {name: match[1] for name, match in found.items() if match}


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Let one process at a time fill the cache; others wait and find it filled."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / f".{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> None:
    engine = engine_directory()
    print(engine)
    if missing_plugins(engine / "pulumi", locked_versions()):
        print(HERE / "standins" / "bin")


if __name__ == "__main__":
    main()
