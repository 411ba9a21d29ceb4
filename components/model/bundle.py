"""What is sent to a machine's installer: a set of files, the units that they configure, and the installer itself.

The state keeps each machine's bundle twice, and the engine's file back end writes the whole state at each step. So
what is alike on every machine goes packed: once, for the whole program.
"""

from __future__ import annotations

import base64
import bz2
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from components.model.files import TEMPLATES, FileSpec

# In the order in which they import each other.
MODULE_NAMES = ("actual", "commands", "packet_filter", "install")
MODULES = {name: (TEMPLATES / "machine" / f"{name}.py").read_text() for name in MODULE_NAMES}
# The installer comes by stdin with its files: a command is shown in full by every error and every process list.
RUN_INSTALLER = """sudo python3 -c 'import base64, bz2, json, sys, types
bundle = json.load(sys.stdin)
common = json.loads(bz2.decompress(base64.b64decode(bundle.pop("common"))))
bundle["files"].update(common["files"])
for name, text in common["modules"]:
    module = sys.modules[name] = types.ModuleType(name)
    exec(text, module.__dict__)
module.main(sys.argv[1], bundle)' """


def pack(
    name: str,
    files: Mapping[str, FileSpec],
    units: tuple[str, ...],
    rolling: bool,
    packages: tuple[str, ...] = (),
) -> str:
    """Return a bundle as RUN_INSTALLER takes it.

    Args:
        name: Names the set on the machine; a file that leaves the set is deleted there.
        units: systemd units to enable and start, in order.
        rolling: Whether the machine is a hub that its hosts must leave before anything on it restarts.
        packages: Debian packages that must be there.
    """
    own = {path: _spec(files[path]) for path in sorted(files) if not files[path].common}
    common = tuple((path, files[path]) for path in sorted(files) if files[path].common)
    packed = {"name": name, "files": own, "units": list(units), "rolling": rolling, "common": _packed(common)}
    packed["packages"] = list(packages)
    return json.dumps(packed, sort_keys=True)


def unpack(text: str) -> dict[str, Any]:
    """Return a bundle as the installer sees it: all files in one, and the installer."""
    packed = json.loads(text)
    common = json.loads(bz2.decompress(base64.b64decode(packed.pop("common"))))
    return {**packed, "files": {**packed["files"], **common["files"]}, "modules": common["modules"]}


@cache
def _packed(files: tuple[tuple[str, FileSpec], ...]) -> str:
    # Not zlib: its builds differ in what they make of the same text, and two users' computers must agree, or each would
    # find every machine changed.
    common = {"files": {path: _spec(spec) for path, spec in files}, "modules": list(MODULES.items())}
    return base64.b64encode(bz2.compress(json.dumps(common, sort_keys=True).encode())).decode()


def _spec(spec: FileSpec) -> dict[str, object]:
    return {"content": spec.content, "mode": spec.mode, "on_change": spec.on_change}
