"""The read-only image that all machines' disks are laid over, built once per recipe."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

from lab.system import LabError, run

RECIPES = Path(__file__).parent / "images"
FILES = RECIPES / "files"


def names() -> tuple[str, ...]:
    """Return the images that a machine may ask for."""
    return tuple(sorted(recipe.stem for recipe in RECIPES.glob("*.toml")))


def cache() -> Path:
    """Return where images are kept: a cache, so that deleting it costs time only."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vcubev" / "lab"


def path(name: str) -> Path:
    """Return the directory that an image has, once built.

    Raises:
        LabError: There is no recipe of that name.
    """
    if name not in names():
        raise LabError(f"image {name!r} is not in the lab. Choose one of: {', '.join(names())}.")
    digest = hashlib.sha256((RECIPES / f"{name}.toml").read_bytes())
    for file in sorted(f for f in FILES.rglob("*") if f.is_file()):
        digest.update(f"\0{file.relative_to(FILES)}\0".encode() + file.read_bytes())
    digest.update(Path(__file__).read_bytes())
    return cache() / f"image-{digest.hexdigest()[:16]}"


def ensure(name: str) -> Path:
    """Return an image's directory, building it first where it is missing. Takes about a minute then.

    Raises:
        LabError: mmdebstrap is missing, or no package mirror answers.
    """
    image = path(name)
    if image.is_dir():
        return image
    if not shutil.which("mmdebstrap"):
        raise LabError("mmdebstrap is missing, which builds the lab's image: apt-get install mmdebstrap.")
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / "image.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for broken_off in cache().glob("making-*"):
            shutil.rmtree(broken_off)
        if not image.is_dir():
            _build(name, image, lock.fileno())
    return image


def _build(name: str, image: Path, lock: int) -> None:
    recipe = tomllib.loads((RECIPES / f"{name}.toml").read_text())
    draft = cache() / f"making-{image.name}"
    print(f"lab: building image {name} (once, about a minute)", file=sys.stderr, flush=True)
    started = time.monotonic()
    command = [
        # It mounts this computer's /dev and more below; killed, it must not leave them where the next run clears.
        *("unshare", "--mount", "--propagation", "slave"),
        *("mmdebstrap", "--mode=root", f"--variant={recipe['variant']}", f"--include={','.join(recipe['include'])}"),
        *("--aptopt=Acquire::Languages none", "--dpkgopt=path-exclude=/usr/share/man/*"),
        *("--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=force-unsafe-io", recipe["suite"], str(draft)),
    ]
    log = cache() / "image.log"
    with log.open("wb") as out:
        # Holds the lock as well: it may outlive its parent, and nobody must clear the directory that it fills.
        building = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, pass_fds=(lock,))
        # stdout belongs to the engine when a plugin builds the image.
        while (code := _wait(building, 5)) is None:
            print(f"lab:   {time.monotonic() - started:.0f} s, see {log}", file=sys.stderr, flush=True)
    if code:
        raise LabError(f"mmdebstrap failed; is a Debian mirror in reach? {log} ends:\n{log.read_text()[-1000:]}")
    _furnish(draft, recipe)
    draft.rename(image)
    print(f"lab: image built in {time.monotonic() - started:.0f} s: {image}", file=sys.stderr, flush=True)


def _wait(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None


def _furnish(root: Path, recipe: dict[str, list[str]]) -> None:
    # systemd-resolved has made a link of it, which leads out of the image.
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    shutil.copytree(FILES, root, dirs_exist_ok=True)
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    for source in [root / "etc/apt/sources.list", *(root / "etc/apt/sources.list.d").glob("*")]:
        source.unlink(missing_ok=True)
    # Empty, not absent: systemd then makes one for each machine without treating the boot as a "first boot".
    (root / "etc/machine-id").write_text("")
    (root / "var/lib/dbus/machine-id").unlink(missing_ok=True)
    (root / "etc/hostname").unlink(missing_ok=True)
    run("systemctl", f"--root={root}", "--quiet", "disable", *recipe["disable"])
    run("systemctl", f"--root={root}", "--quiet", "mask", *recipe["mask"])
