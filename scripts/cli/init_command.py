"""`vcubev init`: a stack file of one's own, by questions or by options."""

from __future__ import annotations

import difflib
import re
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated

import typer

from components.clouds import known_clouds
from components.model.entries import NAME_PATTERN
from components.model.errors import StackError, StackErrors
from components.model.facts import CloudFacts, CloudNotInstalled
from components.model.stackfile import load_text
from scripts.cli import stack as stacks
from scripts.cli.edit.changing import write
from scripts.cli.edit.new import NewHost, NewSite, Wish, drawn_ipv4, drawn_ipv6, written
from scripts.cli.edit_commands import brought
from scripts.cli.terminal import BAD_INPUT, Json, console, errors, tell

SITE = re.compile(r"(?P<name>[^=]+)=(?P<cloud>[^/:]+)(?:/(?P<region>[^:]+))?(?::(?P<hubs>\d+))?")
HOST = re.compile(r"(?P<name>[^=]+)=(?P<role>[^@]+)@(?P<site>[^,]+)(?P<private>,private)?")


def init(
    name: Annotated[str, typer.Argument(help="The stack's: its file will be stacks/Pulumi.NAME.yaml.")],
    site: Annotated[
        list[str] | None,
        typer.Option(
            "--site", metavar="NAME=CLOUD/REGION[:HUBS]", help="May be repeated. Without, questions are asked."
        ),
    ] = None,
    role: Annotated[list[str] | None, typer.Option("--role", help="May be repeated. By default web.")] = None,
    host: Annotated[
        list[str] | None, typer.Option("--host", metavar="NAME=ROLE@SITE[,private]", help="May be repeated.")
    ] = None,
    operator: Annotated[
        list[str] | None, typer.Option("--operator", metavar="PREFIX", help="From where SSH may come. May be repeated.")
    ] = None,
    ipv4: Annotated[str | None, typer.Option(help="By default a /16 that no other stack here has.")] = None,
    ipv6: Annotated[str | None, typer.Option(help="By default a unique local /48, drawn (RFC 4193).")] = None,
    as_data: Json = False,
) -> None:
    """Write a stack file, with comments, that `up` takes as it is.

    Exit codes: 0 written; 1 not wanted; 2 mistakes, or there is one already: nothing was written.
    """
    file = stacks.Stack(name).file
    if not re.fullmatch(NAME_PATTERN, name) or file.exists():
        told = "is there already" if file.exists() else f"would be no name: one matches {NAME_PATTERN}"
        errors.print(f"stacks/{file.name} {told}. Choose another name.", highlight=False)
        raise typer.Exit(BAD_INPUT)
    overlay = (ipv4 or str(drawn_ipv4(sorted(stacks.STACKS.glob("Pulumi.*.yaml")))), ipv6 or str(drawn_ipv6()))
    if site:
        sites = [_site(text) for text in site]
        hosts = [_host(text) for text in host or ()]
        wish = Wish(name, *overlay, _roles(role or ["web"]), sites, hosts, operator or ())
    elif as_data:
        errors.print("With --json there is nobody to ask: give --site.")
        raise typer.Exit(BAD_INPUT)
    else:
        wish = _asked(name, *overlay)
    text = written(wish)
    load_text(text, file.name, known_clouds())
    if as_data:
        tell({"stack": name, "file": f"stacks/{file.name}", "text": text})
    else:
        console.print(text, highlight=False, markup=False, soft_wrap=True, end="")
    if not site:
        typer.confirm(f"Write stacks/{file.name}?", default=True, abort=True)
    write(file, text)
    console.quiet = as_data
    console.print(f"Written. Next: vcubev up {name}", highlight=False)


def _roles(names: list[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _site(text: str) -> NewSite:
    match = SITE.fullmatch(text)
    if match is None:
        raise _no(text, "--site", "paris=linode/fr-par or oregon=aws/us-west-2:2, the number being that of its hubs")
    return NewSite(match["name"], match["cloud"], match["region"], [{} for _ in range(int(match["hubs"] or 1))])


def _host(text: str) -> NewHost:
    match = HOST.fullmatch(text)
    if match is None:
        raise _no(text, "--host", "web-1=web@paris or db-1=db@paris,private")
    return NewHost(match["name"], match["site"], match["role"], bool(match["private"]))


def _no(text: str, option: str, example: str) -> StackErrors:
    return StackErrors([StackError(option, repr(text), "is not of that form", f"Write {example}.")])


def _asked(name: str, ipv4: str, ipv6: str) -> Wish:
    """Ask for all of it; each answer is asked for again until it is one."""
    console.print("Enter takes what stands in brackets. Nothing is written before you have seen it.")
    ipv4 = _ask("The whole network, IPv4 (/8 to /23)", ipv4, lambda text: str(IPv4Network(text)))
    ipv6 = _ask("The whole network, IPv6 (/48)", ipv6, lambda text: str(IPv6Network(text)))
    roles = _roles(_ask("Roles: blocks of addresses, firewalls name them", "web db", _names))
    sites: list[NewSite] = []
    hosts: list[NewHost] = []
    while not sites or typer.confirm("Another site?", default=len(sites) < 2):
        sites.append(_asked_site(sites))
        byo = _facts(sites[-1].cloud).brings_machines
        told = "Hosts there, as NAME:ROLE or NAME:ROLE:private, with blanks between"
        for host in _ask(told, "", lambda text: [_short_host(word, roles, sites[-1].name) for word in text.split()]):
            machine = _asked_machine(host.name) if byo else None
            hosts.append(NewHost(host.name, host.site, host.role, host.private, machine))
    operators: list[str] = []
    if any(not _facts(site.cloud).sees_operator and not _facts(site.cloud).brings_machines for site in sites):
        told = "From where SSH may reach the machines, for example 203.0.113.7/32"
        operators = _ask(told, None, lambda text: [str(IPv4Network(word)) for word in text.split()])
    return Wish(name, ipv4, ipv6, roles, sites, hosts, operators)


def _asked_site(others: list[NewSite]) -> NewSite:
    name = _ask("Site", f"site-{len(others) + 1}", _name)
    clouds = sorted(known_clouds())
    cloud = _ask(f"Cloud ({', '.join(clouds)})", "lab", lambda text: _one_of(text, clouds))
    facts = _facts(cloud)
    region = None
    if not facts.brings_machines:
        told = f"Region, for example {', '.join(facts.regions[:4])}" if facts.regions else "Region, any name"
        region = _ask(told, None if facts.regions else "here", lambda text: _one_of(text, facts.regions))
    with_hubs = [site.name for site in others if site.hubs]
    if facts.brings_machines and with_hubs and not typer.confirm("Has it a hub of its own?", default=False):
        hubs_of = _ask("Whose hubs", with_hubs[0], lambda text: _one_of(text, with_hubs))
        return NewSite(name, cloud, None, (), hubs_of)
    count = _ask("Hubs (two: one may fail with no loss)", "1", _count)
    hubs = [{"machine": _asked_machine(f"hub {at + 1}")} if facts.brings_machines else {} for at in range(count)]
    return NewSite(name, cloud, region, hubs)


def _asked_machine(what: str) -> dict[str, object] | None:
    told = f"{what}: USER@ADDRESS[:PORT], then two words of its /etc/ssh/ssh_host_ed25519_key.pub"
    return _ask(told, None, lambda text: brought(text.partition(" ")[0], " ".join(text.split()[1:3])))


def _ask(question: str, default: str | None, take):
    """Ask until `take` raises no ValueError."""
    while True:
        try:
            return take(typer.prompt(question, default=default))
        except (ValueError, StackErrors) as problem:
            errors.print(str(problem), highlight=False, markup=False)


def _name(text: str) -> str:
    if not re.fullmatch(NAME_PATTERN, text):
        raise ValueError(f"{text!r} is no name: one matches {NAME_PATTERN}")
    return text


def _names(text: str) -> list[str]:
    return [_name(word) for word in text.replace(",", " ").split()]


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 26:
        raise ValueError(f"{text!r} is no number from 1 to 26")
    return int(text)


def _one_of(text: str, known) -> str:
    if known and text not in known:
        near = difflib.get_close_matches(text, known, n=3, cutoff=0.5) or list(known)[:4]
        raise ValueError(f"{text!r} is not one of them; for example {', '.join(near)}")
    return text


def _short_host(word: str, roles: list[str], site: str) -> NewHost:
    name, _, rest = word.partition(":")
    role, _, private = rest.partition(":")
    if private not in ("", "private"):
        raise ValueError(f"{word!r} is not of the form NAME:ROLE or NAME:ROLE:private")
    return NewHost(_name(name), site, _one_of(role, roles), private == "private")


def _facts(cloud: str) -> CloudFacts:
    try:
        return known_clouds()[cloud]
    except CloudNotInstalled as missing:
        raise ValueError(f"cloud {cloud} needs the package {missing}: uv sync --extra {cloud}") from None
