"""Somebody who has a host's keys, and how long a hub still carries a host that it refuses."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from tests.lab.worktree import WorkTree

IDENTITY = ("ca.pem", "certificate.pem", "key.pem", "tls-crypt-v2.key")
STOLEN = "/tmp/stolen"
IN = "Initialization Sequence Completed"
DOORS = {"udp": ("1194", "udp4"), "tcp": ("443", "tcp4-client")}
TRY_SECONDS = 8
WATCH_SECONDS = 40
OWN, ANY = 2, 3  # fields of a look
# One line a look: time, which file the list is, how many of this hub's own tunnels lead to the host, how many routes.
WATCH = """
end=$(($(date +%s) + {seconds}))
while [ "$(date +%s)" -lt $end ] && [ ! -e /run/watched ]; do
  list=$(stat -c %i /etc/vcubev/crl/crl.pem)
  own=$(ip -4 route show table 100 exact {address} | grep -c .)
  echo "$(date +%s.%N) $list $own $(ip -4 route show exact {address} | grep -c .)"
  sleep 0.05
done
"""


@dataclass(frozen=True)
class Thief:
    """A machine that has another's keys as well."""

    tree: WorkTree
    machine: str
    hubs: dict[str, tuple[str, dict[str, tuple[str, str]]]]  # "site/hub" -> address and doors

    def ways_in(self, *hubs: str) -> set[tuple[str, str]]:
        """Try all doors of some hubs, or of all, at once; return (hub, transport) of those that let it in."""
        tries = {}
        for number, hub in enumerate(hubs or self.hubs):
            address, doors = self.hubs[hub]
            for transport, door in doors.items():
                tries[hub, transport] = self._try(f"stolen{number}{transport}", address, *door)
        return {way for way, attempt in tries.items() if IN in attempt.communicate()[0]}

    def _try(self, device: str, address: str, port: str, protocol: str) -> subprocess.Popen[str]:
        files = {
            "--ca": "ca.pem",
            "--cert": "certificate.pem",
            "--key": "key.pem",
            "--tls-crypt-v2": "tls-crypt-v2.key",
        }
        keys = [word for option, name in files.items() for word in (option, f"{STOLEN}/{name}")]
        client = f"--client --nobind --dev {device} --dev-type tun --ifconfig-noexec --route-noexec --verb 3".split()
        safe = ["--tls-version-min", "1.3", "--data-ciphers", "AES-256-GCM", "--remote-cert-tls", "server"]
        to = ["--remote", address, port, protocol, "--connect-retry", "1", "1", "--connect-retry-max", "1"]
        command = ["timeout", str(TRY_SECONDS), "openvpn", *client, *safe, *to, *keys]
        return _start(self.tree, self.machine, *command)


def steal(tree: WorkTree, host: str, machine: str) -> Thief:
    """Copy a host's keys to another machine."""
    tree.lab("exec", machine, "--", "mkdir", "-p", "-m", "0700", STOLEN)
    for name in IDENTITY:
        content = tree.lab("exec", host, "--", "cat", f"/etc/vcubev/pki/{name}").stdout
        assert content, f"{host} has no {name}"
        put = ["./scripts/lab", "exec", "--stack", tree.stack, machine, "--", "sh", "-c", f"cat >{STOLEN}/{name}"]
        subprocess.run(put, cwd=tree.tree, env=tree.environment, input=content, text=True, check=True)
    outputs = tree.outputs()["hubs"]
    sites = tree.config()["vcubev:sites"]
    hubs = {}
    for key, hub in outputs.items():
        site, name = key.split("/")
        tcp_port = str(sites[site]["hubs"][name].get("tcp_port", DOORS["tcp"][0]))
        hubs[key] = (hub["ssh"]["address"], {**DOORS, "tcp": (tcp_port, DOORS["tcp"][1])})
    return Thief(tree, machine, hubs)


@contextlib.contextmanager
def watched(tree: WorkTree, hubs: tuple[str, ...], address: str) -> Iterator[dict[str, float]]:
    """Watch all hubs' routes to a host, and yield what fills with how long they were there, in seconds.

    A hub's own tunnel must go once this hub has its list. A route that leads to another hub's tunnel is no fault of
    this one, and lives as long as that: it must go once the last hub has its list.
    """
    seen: dict[str, float] = {}
    looks: dict[str, list[list[str]]] = {}
    script = WATCH.format(seconds=WATCH_SECONDS, address=address)
    watchers = {hub: _start(tree, hub.replace("/", "-"), "sh", "-c", script) for hub in hubs}
    try:
        yield seen
    finally:
        for hub, watcher in watchers.items():
            tree.lab("exec", hub.replace("/", "-"), "--", "touch", "/run/watched")
            looks[hub] = [line.split() for line in watcher.communicate()[0].splitlines()]
            tree.lab("exec", hub.replace("/", "-"), "--", "rm", "/run/watched")
        landed = {hub: _landed(lines) for hub, lines in looks.items()}
        for hub, lines in looks.items():
            seen[f"tunnel at {hub}"] = max(0.0, _last(lines, OWN) - landed[hub])
            seen[f"route at {hub}"] = max(0.0, _last(lines, ANY) - max(landed.values()))


def _landed(lines: list[list[str]]) -> float:
    return next(float(when) for when, file, *_ in lines if file != lines[0][1])


def _last(lines: list[list[str]], which: int) -> float:
    assert lines and lines[0][which] != "0", "the host was not there to begin with"
    last = max(float(line[0]) for line in lines if line[which] != "0")
    assert last < float(lines[-1][0]), "the route is there still"
    return last


def _start(tree: WorkTree, machine: str, *command: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["./scripts/lab", "exec", "--stack", tree.stack, machine, "--", *command],
        cwd=tree.tree, env=tree.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
