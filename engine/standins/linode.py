"""The `linode` stand-in: an overlay's VPCs, firewalls, addresses and instances, through linode_api4.

The provider's own configuration says where to call: `linode:url` or LINODE_URL, `linode:apiVersion` or
LINODE_API_VERSION. The token comes from LINODE_TOKEN, never from configuration, which the state holds.

Not here: import, invokes, and every property that no kind translates, which is an error (see `Kind.handled`).
"""

from __future__ import annotations

import os
import threading
from typing import ClassVar

from pulumi.provider.experimental import provider as p

from . import linode_machines, linode_network
from .cloud_kinds import CloudProvider, Kind, Plain
from .engine_log import EngineLog
from .linode_api import LinodeApi, failure
from .properties import Failure, Properties, is_unknown, plain

PUBLIC_URL = "https://api.linode.com"
SETTINGS = frozenset({"url", "apiVersion", "uaPrefix", "version", "pluginDownloadURL"})


class LinodeProvider(CloudProvider):
    """One account's calls."""

    plugin = "linode"
    kinds: ClassVar[dict[str, Kind]] = {**linode_network.KINDS, **linode_machines.KINDS}

    def __init__(self, log: EngineLog | None = None) -> None:
        super().__init__(log)
        self._settings: Plain = {}
        self._local = threading.local()

    async def check_config(self, request: p.CheckRequest) -> p.CheckResponse:
        return p.CheckResponse(dict(request.new_inputs), _setting_failures(request.new_inputs))

    async def diff_config(self, request: p.DiffRequest) -> p.DiffResponse:
        return p.DiffResponse(changes=False)

    async def configure(self, request: p.ConfigureRequest) -> p.ConfigureResponse:
        self._settings = {name: plain(value) for name, value in request.args.items() if not is_unknown(value)}
        if failures := _setting_failures(request.args):
            raise Failure("; ".join(failure.reason for failure in failures))
        return p.ConfigureResponse(accept_secrets=True, supports_preview=True)

    def api(self, inputs: Plain) -> LinodeApi:
        # One for each thread: requests' sessions are not made to be shared.
        if not hasattr(self._local, "api"):
            token = os.environ.get("LINODE_TOKEN")
            if not token:
                raise Failure("The Linode API Token was not set: set LINODE_TOKEN")
            url = self._settings.get("url") or os.environ.get("LINODE_URL") or PUBLIC_URL
            version = self._settings.get("apiVersion") or os.environ.get("LINODE_API_VERSION") or "v4"
            base = url.rstrip("/")
            self._local.api = LinodeApi(token, base if base.endswith(f"/{version}") else f"{base}/{version}")
        return self._local.api

    def failure(self, error: Exception) -> Exception:
        return failure(error)

    async def invoke(self, request: p.InvokeRequest) -> p.InvokeResponse:
        raise Failure(f"{request.tok} is not in the stand-in for the linode plugin; use the official plugin")


def _setting_failures(settings: Properties) -> list[p.CheckFailure]:
    failures = []
    for name, value in settings.items():
        if name == "token" and plain(value):
            failures.append(p.CheckFailure(name, "linode:token would stand in the state: set LINODE_TOKEN"))
        elif name not in SETTINGS and name != "token" and plain(value) not in (None, "", [], {}):
            failures.append(p.CheckFailure(name, f"linode:{name} is not in the stand-in for the linode plugin"))
    return failures
