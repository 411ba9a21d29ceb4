"""`vcubev join-bundle`: a file by which a laptop, or a machine that nobody logs in to, joins as one host."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from components.model import tlscrypt
from components.model.crl import ends_of
from components.model.joining import join_file
from components.model.topology import HostView
from scripts.cli.access_commands import inventory_of
from scripts.cli.state import plain
from scripts.cli.terminal import BAD_INPUT, FAILED, Json, OfStack, console, errors, from_here, tell

PART = re.compile(r"(?P<whose>.+)-(?P<kind>key|cert|channel)(?:-\d+)?")


def join_bundle(
    host: Annotated[str, typer.Argument(help="A host of the stack file, best one with unmanaged: true.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="By default HOST.ovpn.")] = None,
    instead: Annotated[
        bool, typer.Option("--instead", help="Of a host that up has set up: its machine is off for good.")
    ] = False,
    stack: OfStack = "lab",
    as_data: Json = False,
) -> None:
    """Write an .ovpn file with certificate and keys for one host, readable by you only; never over another file.

    Any OpenVPN from 2.5 on takes it. Less than a host that up sets up: one tunnel instead of two, so no fail-over in
    less than a second, and no firewall of the policy on the machine itself; what others let in holds for it as for all.

    Exit codes: 0 written; 1 the stack is not up, or has no such host yet; 2 no such host, or the file is there already.
    """
    opened, inventory = inventory_of(stack)
    topology = opened.topology()
    view = next((known for known in topology.hosts if known.name == host), None)
    file = from_here(output or Path(f"{host}.ovpn"))
    if view is None:
        errors.print(
            f"There is no host {host}: vcubev add host {host} --unmanaged --role ROLE --site SITE", highlight=False
        )
        raise typer.Exit(BAD_INPUT)
    if not view.unmanaged and not instead:
        told = f"{host}'s own machine has this identity: two that use it draw its traffic from each other."
        errors.print(
            f"{told} Add a host with --unmanaged; or if that machine is off for good: --instead.", highlight=False
        )
        raise typer.Exit(BAD_INPUT)
    identity = _identity(json.loads(opened.answer("stack", "export", "--show-secrets", "-s", stack)), stack, view)
    if identity is None:
        errors.print(f"{host} is not in the stack's state yet: vcubev up {stack}", highlight=False)
        raise typer.Exit(FAILED)
    endpoints = {name: hub.ssh.address for name, hub in inventory.hubs.items()}
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        errors.print(f"{file} is there already, and nothing is written over it.", highlight=False)
        raise typer.Exit(BAD_INPUT) from None
    with os.fdopen(descriptor, "w") as opened_file:
        opened_file.write(join_file(topology, view, endpoints, **identity))
    ends = ends_of(identity["certificate_pem"])
    if as_data:
        address = {"ipv4": str(view.address.ipv4), "ipv6": str(view.address.ipv6)}
        tell({"file": str(file), "host": host, **address, "valid_until": ends.isoformat(timespec="seconds")})
        return
    console.print(
        f"Written: {file}. Whoever has it is {host}. Its certificate ends on {ends:%Y-%m-%d}.", highlight=False
    )
    console.print(
        f"There: openvpn --config {file.name}. One tunnel, no fail-over: the file says more.", highlight=False
    )


def _identity(state: Mapping[str, Any], stack: str, host: HostView) -> dict[str, str] | None:
    """Return what of a host's identity is in the engine's state, secrets in the clear; None if it is not."""
    found: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for resource in state.get("deployment", {}).get("resources") or []:
        *_, path, name = resource["urn"].split("::")
        # While keys are rotated there are two of some, numbered: of a host the one in use, of CAs all that are trusted.
        if resource["type"].startswith("tls:") and not resource.get("delete") and (part := PART.fullmatch(name)):
            owner = "ca" if "vcubev:index:Authority$" in path else "host"
            found.setdefault((owner, part["whose"], part["kind"]), []).append(resource.get("outputs", {}))
    try:
        key = plain(found["host", f"{stack}-{host.name}", "key"][-1]["privateKeyPem"])
        channel = plain(found["ca", f"{stack}-ca", "channel"][-1]["privateKeyPem"])
        return {
            "ca_pem": "".join(plain(ca["certPem"]) for ca in found["ca", f"{stack}-ca", "cert"]),
            "certificate_pem": plain(found["host", f"{stack}-{host.name}", "cert"][-1]["certPem"]),
            "key_pem": key,
            "tls_crypt_v2_client_key": tlscrypt.v2_client_key(channel, key),
        }
    except KeyError:
        return None
