"""Linode, by linode_api4: LINODE_TOKEN (LINODE_TOKEN_<ACCOUNT>), and LINODE_URL for emulated ones."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import requests
from linode_api4 import ApiError, LinodeClient, UnexpectedResponseError

from components.clouds.linode import token_variable
from scripts.cli.ask import STACK_TAG, CannotAsk, Leftover

URL = "https://api.linode.com"
# Tokens are made there; what this program needs of them.
SCOPES = "read/write for Linodes, Firewalls, VPCs and IPs"


def signed_in(region: str, account: str) -> str:
    with _told(account):
        return f"user {_client(account).profile().username}"


def leftovers(stack: str, region: str, account: str) -> Iterator[Leftover]:
    """Find a stack's things in all regions: Linode's lists have no region."""
    client, tag = _client(account), f"{STACK_TAG}={stack}"
    with _told(account):
        for kind, listed in (("instance", client.linode.instances()), ("firewall", client.networking.firewalls())):
            for thing in listed:
                if tag.lower() in [one.lower() for one in thing.tags]:
                    yield Leftover("linode", "", kind, f"{thing.label} ({thing.id})")
        for vpc in client.vpcs():
            if tag in (vpc.description or "").split():
                yield Leftover("linode", "", "vpc", f"{vpc.label} ({vpc.id})")
        # Placement groups carry neither tags nor a description.
        for group in client.placement.groups():
            if group.label.startswith(f"{stack}-"):
                yield Leftover("linode", "", "placement group", f"{group.label} ({group.id}), by its label")


def _client(account: str) -> LinodeClient:
    variable = token_variable(account)
    if not (token := os.environ.get(variable)):
        raise CannotAsk(
            f"linode: {variable} is not set. Make a token at cloud.linode.com/profile/tokens ({SCOPES}) and export it."
        )
    base = (os.environ.get("LINODE_URL") or URL).rstrip("/")
    version = os.environ.get("LINODE_API_VERSION") or "v4"
    return LinodeClient(token, base_url=base if base.endswith(f"/{version}") else f"{base}/{version}")


@contextmanager
def _told(account: str) -> Iterator[None]:
    """Turn the client's errors, which quote requests, into one sentence."""
    variable = token_variable(account)
    try:
        yield
    except ApiError as refused:
        cure = f"Is {variable} valid, with {SCOPES}?" if refused.status in (401, 403) else "Try again later."
        raise CannotAsk(f"linode: refused ({refused.status}). {cure}") from None
    except (UnexpectedResponseError, requests.RequestException) as problem:
        raise CannotAsk(f"linode: {type(problem).__name__}: no sensible answer from Linode's API.") from None
