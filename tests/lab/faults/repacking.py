"""Packages for lab machines, which no mirror serves: made of what is installed there."""

from __future__ import annotations

from tests.lab.faults.world import World

# $1: the package, $2: its version. /root/own then is a source of packages, for apt as well.
REPACK = r"""set -eu
made=/root/own/$1
rm -rf "$made"; mkdir -p "$made/DEBIAN"
cd /
dpkg -L "$1" | while read -r file; do
  if [ -f "$file" ]; then cp -a --parents "$file" "$made"; fi
done
dpkg-query -s "$1" | sed "/^Status:/d; /^Conffiles:/d; /^ \//d; s/^Version:.*/Version: $2/" >"$made/DEBIAN/control"
dpkg-deb -b "$made" "$made.deb" >/dev/null
cd /root/own
dpkg-deb -f "$1.deb" >Packages
sum=$(sha256sum "$1.deb" | cut -d' ' -f1)
printf 'Filename: ./%s.deb\nSize: %s\nSHA256: %s\n' "$1" "$(stat -c %s "$1.deb")" "$sum" >>Packages
echo 'deb [trusted=yes] file:/root/own ./' >/etc/apt/sources.list.d/own.list
"""


def version_of(world: World, machine: str, package: str) -> str:
    return world.run(machine, f"dpkg-query -W -f '${{Version}}' {package}")


def repack(world: World, machine: str, package: str, version: str) -> str:
    """Make a package of what is installed, under a version; return its file on the machine."""
    process = world.start(machine, "bash", "-s", package, version)
    told = process.communicate(REPACK, timeout=60)
    assert process.returncode == 0, told
    return f"/root/own/{package}.deb"
