"""A stack file that was not there before."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from scripts.cli.edit.editor import Editor
from scripts.cli.edit.ids import CONFIG, OVERLAY, State

DRAWN_FROM = [IPv4Network(f"10.{octet}.0.0/16") for octet in range(100, 256)]


@dataclass(frozen=True)
class NewSite:
    """What the user says of a site."""

    name: str
    cloud: str
    region: str | None = None
    hubs: Sequence[dict[str, Any]] = ({},)
    hubs_of: str | None = None


@dataclass(frozen=True)
class NewHost:
    """What the user says of a host."""

    name: str
    site: str
    role: str
    private: bool = False
    machine: dict[str, Any] | None = None


@dataclass(frozen=True)
class Wish:
    """All of it."""

    name: str
    ipv4: str
    ipv6: str
    roles: Sequence[str]
    sites: Sequence[NewSite]
    hosts: Sequence[NewHost] = ()
    operators: Sequence[str] = field(default=())


def written(wish: Wish) -> str:
    """Return the stack file's text. Whether it is right is for its own check to say."""
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True)
    editor = Editor(environment.get_template("stack.yaml.j2").render(**vars(wish)), State())
    for role in wish.roles:
        editor.add_role(role)
    for site in wish.sites:
        editor.add_site(site.name, site.cloud, site.region, site.hubs, hubs_of=site.hubs_of)
    for host in wish.hosts:
        editor.add_host(host.name, host.site, host.role, private=host.private, machine=host.machine)
    return editor.document.text


def drawn_ipv4(files: Iterable[Path]) -> IPv4Network:
    """Return a /16 that no stack file has, so that two of the user's stacks can be joined one day."""
    taken = []
    for file in files:
        try:
            taken.append(IPv4Network(YAML(typ="safe").load(file.read_text())[CONFIG][OVERLAY]["ipv4"]))
        except (YAMLError, KeyError, TypeError, ValueError):
            continue
    return next((free for free in DRAWN_FROM if not any(map(free.overlaps, taken))), DRAWN_FROM[0])


def drawn_ipv6() -> IPv6Network:
    """Draw a unique local prefix (RFC 4193: 40 random bits behind fd00::/8)."""
    return IPv6Network((0xFD << 120 | secrets.randbits(40) << 80, 48))
