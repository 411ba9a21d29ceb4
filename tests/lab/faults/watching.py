"""Watchers on some hosts of a mesh, from the moment they start to their reports."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.lab.faults import watch
from tests.lab.faults.outcome import Report, Stream

PORT = 7007
# Public and private ones at all three sites, so that their traffic takes every hub and link. All of them, and the two
# cores that this runs on would be what is measured.
WATCHED = ("web-1", "db-1", "ldap-1", "web-3", "web-4")
IPV6 = (("web-1", "web-4"), ("web-3", "db-1"))
STREAMS = (
    Stream("web-1", "web-3", sender="web-1"),
    Stream("web-4", "db-1", sender="db-1"),
    Stream("web-3", "ldap-1", sender="ldap-1", family="ipv6"),
    Stream("db-1", "web-4", sender="db-1", family="ipv6"),
)
PATIENCE_SECONDS = 6  # a stalled TCP sender tries again only after up to twice the outage


class Watching:
    """Watchers on some hosts, each sending to all others, from `with` to `stop`."""

    def __init__(
        self,
        start: Callable[..., subprocess.Popen[str]],
        members: Mapping[str, Mapping[str, Any]],
        hosts: tuple[str, ...],
        streams: Mapping[int, Stream],
    ) -> None:
        """Prepare.

        Args:
            start: Starts a command in a machine.
            members: All hosts with their addresses.
        """
        self._start, self._members, self._hosts, self._streams = start, members, hosts, streams
        self._watchers: dict[str, subprocess.Popen[str]] = {}
        self.began = 0.0

    def __enter__(self) -> Watching:
        script = Path(watch.__file__).read_text()
        try:
            for host in self._hosts:
                order = json.dumps(self._order(host))
                self._watchers[host] = self._start(host, "python3", "-ISc", script, order)
            for host, watcher in self._watchers.items():
                assert watcher.stdout.readline() == "ready\n", f"{host}: {watcher.communicate()[1]}"
        except BaseException:
            self.__exit__()
            raise
        self.began = time.monotonic()
        self._tell("start")
        return self

    def _order(self, host: str) -> dict[str, Any]:
        known = self._members
        peers = {peer: known[peer]["ipv4"] for peer in self._hosts if peer != host}
        for one, other in IPV6:
            if host in (one, other) and {one, other} <= set(self._hosts):
                peer = other if host == one else one
                peers[f"{peer} ipv6"] = known[peer]["ipv6"]
        streams = {}
        for number, stream in self._streams.items():
            if host in (stream.client, stream.server):
                to = known[stream.server][stream.family] if host == stream.client else ""
                streams[number] = {"peer": to, "sends": host == stream.sender}
        own = [known[host]["ipv4"], known[host]["ipv6"]]
        return {"addresses": own, "port": PORT, "patience": PATIENCE_SECONDS, "peers": peers, "streams": streams}

    def _tell(self, word: str) -> None:
        # A moment that lies ahead for all of them.
        tick = int((time.monotonic() + 0.2) / watch.TICK_SECONDS)
        for watcher in self._watchers.values():
            try:
                watcher.stdin.write(f"{word} {tick}\n")
                watcher.stdin.flush()
            except BrokenPipeError:  # its machine died
                continue

    def stop(self) -> dict[str, Report | None]:
        """Return each host's report; None from one whose machine died."""
        self._tell("stop")
        reports: dict[str, Report | None] = {}
        for host, watcher in self._watchers.items():
            line = watcher.stdout.readline()
            reports[host] = json.loads(line) if line else None
        return reports

    def __exit__(self, *reason: object) -> None:
        for watcher in self._watchers.values():
            try:
                watcher.communicate(timeout=PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                watcher.kill()
                watcher.communicate()
