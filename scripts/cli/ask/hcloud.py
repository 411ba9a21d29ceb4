"""Hetzner Cloud, by its HTTP API: HCLOUD_TOKEN (HCLOUD_TOKEN_<ACCOUNT>); HCLOUD_ENDPOINT for emulated ones."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

import requests

from scripts.cli.ask import STACK_TAG, CannotAsk, Leftover

TOKEN, ENDPOINT = "HCLOUD_TOKEN", "https://api.hetzner.cloud/v1"
LABEL = STACK_TAG.replace(":", "-")
KINDS = ("servers", "primary_ips", "firewalls", "networks", "placement_groups")
TIMEOUT_SECONDS = 20


def signed_in(region: str, account: str) -> str:
    _get(account, "servers", per_page=1)  # tokens carry no name
    return "the project of the token"


def leftovers(stack: str, region: str, account: str) -> Iterator[Leftover]:
    """Find a stack's things at all locations: a list is of a whole project."""
    for kind in KINDS:
        page = 1
        while page:
            answer = _get(account, kind, label_selector=f"{LABEL}={stack}", page=page)
            for thing in answer[kind]:
                yield Leftover("hcloud", "", kind.replace("_", " ").rstrip("s"), f"{thing['name']} ({thing['id']})")
            page = answer["meta"]["pagination"]["next_page"]


def _get(account: str, kind: str, **query: object) -> dict[str, Any]:
    variable = f"{TOKEN}_{re.sub('[^A-Z0-9]', '_', account.upper())}" if account else TOKEN
    if not (token := os.environ.get(variable)):
        raise CannotAsk(f"hcloud: {variable} is not set. Make a token in the project's Security menu and export it.")
    url = f"{(os.environ.get('HCLOUD_ENDPOINT') or ENDPOINT).rstrip('/')}/{kind}"
    try:
        answer = requests.get(url, params=query, headers={"Authorization": f"Bearer {token}"}, timeout=TIMEOUT_SECONDS)
        if answer.ok:
            return answer.json()
    except requests.RequestException as problem:
        raise CannotAsk(f"hcloud: {type(problem).__name__}: no sensible answer from Hetzner's API.") from None
    cure = f"Is {variable} valid?" if answer.status_code in (401, 403) else "Try again later."
    raise CannotAsk(f"hcloud: refused ({answer.status_code}). {cure}")
