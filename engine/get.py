"""Finds, downloads or builds the Pulumi engine, and tells which stand-in plugins are needed.

    python3 engine/get.py [CLOUD ...]

prints the directories that belong in front of PATH, one a line; progress goes to stderr. Needs nothing but Python's
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
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vcubev"
RELEASES = "https://github.com/pulumi/pulumi/releases/download"
# Where nothing answers in this time, the download would not be worth waiting for.
CONNECT_TIMEOUT_SECONDS = 4
PLUGIN_INSTALL_TIMEOUT_SECONDS = 300
PLUGINS = ("tls", "command")  # what every stack needs
STAND_INS = HERE / "standins" / "bin"  # a directory for each, so that on PATH none hides another's official plugin
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
    say(f"building {target.name} from Go modules (some minutes, once)")
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


def installed(pulumi: Path, versions: dict[str, str]) -> set[str]:
    """Return which plugins the engine finds without us: on the user's own PATH, or in its cache in this version."""
    listing = subprocess.run([pulumi, "plugin", "ls", "--json"], capture_output=True, text=True, check=True).stdout
    cached = {(plugin["name"], plugin.get("version") or "") for plugin in json.loads(listing or "[]")}
    # Stand-ins are on PATH already in a shell that took over scripts/env, of this work tree or another.
    search = [part for part in os.environ["PATH"].split(os.pathsep) if "standins" not in Path(part).parts[-3:]]
    own = {name for name in versions if shutil.which(f"pulumi-resource-{name}", path=os.pathsep.join(search))}
    return own | {name for name, version in versions.items() if {(name, version), (name, "")} & cached}


def missing_plugins(pulumi: Path, versions: dict[str, str]) -> list[str]:
    """Return the plugins that the engine has not and cannot fetch."""
    present = installed(pulumi, versions)
    missing = [name for name in versions if name not in present]
    if not missing or known_unreachable():
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
        unreachable_mark().parent.mkdir(parents=True, exist_ok=True)
        unreachable_mark().touch()
    return missing


def unreachable_mark() -> Path:
    return CACHE / "engine" / "plugins-unreachable"


def known_unreachable() -> bool:
    mark = unreachable_mark()
    return mark.exists() and time.time() - mark.stat().st_mtime < RETRY_SECONDS


def stand_ins(pulumi: Path, clouds: Iterable[str]) -> list[Path]:
    """Return the directories of the stand-ins that are needed.

    Args:
        clouds: Those of the stack file. Sites that have left it are in the state still: where plugins can't be fetched,
            the other stand-ins are needed for them.
    """
    wanted = list(dict.fromkeys((*PLUGINS, *clouds)))
    missing = missing_plugins(pulumi, locked_versions(wanted))
    rest = locked_versions(sorted({own.name for own in STAND_INS.iterdir()} - set(wanted)))
    if rest and known_unreachable():
        present = installed(pulumi, rest)
        missing += [name for name in rest if name not in present]
    return [STAND_INS / name for name in missing if (STAND_INS / name).is_dir()]


def locked_versions(plugins: Iterable[str]) -> dict[str, str]:
    """Return plugins' versions: those of their SDK packages in uv.lock. What has none there needs no plugin."""
    lock = (HERE.parent / "uv.lock").read_text()
    found = {name: re.search(rf'name = "pulumi-{name}"\nversion = "([^"]+)"', lock) for name in plugins}
    return {name: match[1] for name, match in found.items() if match}


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Let one process at a time fill the cache; others wait and find it filled."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / f".{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main(clouds: list[str]) -> None:
    engine = engine_directory()
    for directory in (engine, *stand_ins(engine / "pulumi", clouds)):
        print(directory)


if __name__ == "__main__":
    main(sys.argv[1:])
