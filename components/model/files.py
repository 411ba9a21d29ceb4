"""One file of a machine, and how it is made of a template."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from components.model.policy import METRICS_PORT, families
from components.model.topology import CLAIMS_PORT, DIRECT_TALK_PORT, FIRST_ASN, LINK_PORTS, NAMES_PORT

TEMPLATES = Path(__file__).parents[1] / "templates"
HOOKS = "/usr/local/lib/vcubev"
UNITS = "/etc/systemd/system"

# What every template may use. Timers: one second is the fastest OpenVPN's ping can be; 4 is the lowest restart that
# 20 % loss does not trip; a hub waits twice as long as its hosts, as OpenVPN's own keepalive does. A host's agent is
# faster than its tunnels by far: theirs are for the time when it is away.
CONSTANTS = {
    "PING_SECONDS": 1,
    "HOST_PING_RESTART_SECONDS": 4,
    "HUB_PING_RESTART_SECONDS": 8,
    "LINK_PING_RESTART_SECONDS": 4,
    "BFD_MILLISECONDS": 100,
    # Inside the smallest underlay in use: 1460 (Google Cloud) less 52 for UDP and AES-GCM on IPv4.
    "MTU_BYTES": 1400,
    # By a probe, where the underlay carries it: 8896 (Google Cloud; AWS has 9001) less 52, and some room.
    "JUMBO_MTU_BYTES": 8800,
    "SOCKET_BUFFER_BYTES": 512 * 1024,
    "TX_QUEUE_PACKETS": 1000,
    "MAX_HOSTS": 2000,
    "HOSTS_TABLE": 100,
    "CLAIMS_PORT": CLAIMS_PORT,
    "NAMES_PORT": NAMES_PORT,
    "DIRECT_TALK_PORT": DIRECT_TALK_PORT,
    "DIRECT_MARK": "0x76637562",  # put on what comes by a direct tunnel from its peer, and on nothing else
    "STUB": "127.1.0.53",  # where a host without systemd-resolved asks; the usual ones may be taken
    # Linux doubles it, and a route's change takes 1.2 kB of it: 50,000 of them. By itself it holds 170.
    "NETLINK_BUFFER_BYTES": 32 * 1024**2,
    "LINK_PORTS": LINK_PORTS,
    # RFC 8092: what a leaf has from the core, told within its site only; what a hub of the core has from a leaf.
    "FROM_CORE": f"({FIRST_ASN}, 0, 1)",
    "FROM_LEAF": f"({FIRST_ASN}, 0, 2)",
    "METRICS_PORT": METRICS_PORT,
    "CRL": "/run/vcubev-crl/crl.pem",  # checked by refuse.py, on a tmpfs
}


@dataclass(frozen=True)
class FileSpec:
    """One file of a machine.

    `on_change` lists what a changed content asks for: "restart UNIT", "reload UNIT" or "run COMMAND".
    """

    content: str
    mode: str = "0644"
    on_change: tuple[str, ...] = ()
    common: bool = False  # the same on every machine that has it


def json_file(values: Mapping[str, object], on_change: tuple[str, ...] = ()) -> FileSpec:
    return FileSpec(json.dumps(values, indent=1) + "\n", on_change=on_change)


def rendered(template: str, values: dict[str, object], on_change: tuple[str, ...] = ()) -> FileSpec:
    return FileSpec(text(template, values), on_change=on_change) if values else _common(template, on_change)


@cache
def _common(template: str, on_change: tuple[str, ...]) -> FileSpec:
    return FileSpec(text(template, {}), on_change=on_change, common=True)


@cache
def copied(path: str, mode: str = "0755", on_change: tuple[str, ...] = ()) -> FileSpec:
    return FileSpec((TEMPLATES / path).read_text(), mode, on_change, common=True)


def text(template: str, values: dict[str, object]) -> str:
    return _environment().get_template(template).render(**CONSTANTS, families=families, **values)


@cache
def _environment() -> Environment:
    loader = FileSystemLoader(TEMPLATES)
    return Environment(  # the files are no HTML
        loader=loader, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
