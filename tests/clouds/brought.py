"""A machine that no cloud's API made: a lab machine beside the stack, with a login and a packet filter of its own."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import asyncssh
from ruamel.yaml import YAML
from ruamel.yaml.compat import StringIO
from ruamel.yaml.scalarstring import LiteralScalarString

from lab import machines, networks
from lab.records import Rule, load

NAME, USER, IMAGE = "office", "admin", "debian-12"
BOOT_SECONDS = 60
# As in an office: nothing comes in but SSH, everything goes out.
RULES = [Rule(protocol="tcp", ports=["22"], sources=["0.0.0.0/0"]), Rule(protocol="icmp", sources=["0.0.0.0/0"])]
OWN_FILTER = """#!/usr/sbin/nft -f
flush ruleset
table inet office {
  chain input {
    type filter hook input priority filter; policy accept;
    tcp dport 9999 drop
  }
}
"""
LOOK = (Path(__file__).parent / "look.sh").read_text()


class BroughtMachine:
    """Somebody's own box, on the internet of one lab stack; nothing of the stack knows of it but its stack file."""

    def __init__(self, project: str, stack: str, directory: Path) -> None:
        self._stack = (project, stack)
        login, host = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
        self.key_file, self._known = directory / "office-key", directory / "office-known"
        self.key_file.touch(mode=0o600)
        self.key_file.write_bytes(login.export_private_key())
        self.host_key = " ".join(host.export_public_key().decode().split()[:2])
        network = networks.create_network(project, stack, NAME, "192.168.77.0/24").id
        firewall = networks.create_firewall(project, stack, NAME, network, RULES)
        boot_data = _user_data(login, host)
        made = machines.create_machine(project, stack, NAME, network, firewall, IMAGE, boot_data, public=True)
        self.address = str(made.address)
        self._known.write_text(f"{self.address} {self.host_key}\n")
        self._await()

    def in_stack_file(self) -> dict[str, str]:
        return {"address": self.address, "user": USER, "host_key": self.host_key}

    def run(self, script: str) -> str:
        """Run a script as root, by its owner's own login."""
        done = self._ssh("sudo", "sh", "-eu", "-s", stdin=script)
        assert done.returncode == 0, (script, done.stdout, done.stderr)
        return done.stdout

    def look(self) -> dict[str, list[str]]:
        """Return all that a stack could have changed, by kind."""
        found: dict[str, list[str]] = {}
        for line in self.run(LOOK).splitlines():
            if line.startswith("## "):
                lines = found.setdefault(line[3:], [])
            else:
                lines.append(line.strip())
        return found

    def exists(self) -> bool:
        return NAME in load(*self._stack).machines

    def remove(self) -> None:
        stack = load(*self._stack)
        if NAME in stack.machines:
            machines.delete_machine(*self._stack, stack.machines[NAME].id)
        if NAME in stack.networks:
            networks.delete_network(*self._stack, stack.networks[NAME].id)

    def _ssh(self, *command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        options = {
            "UserKnownHostsFile": self._known,
            "StrictHostKeyChecking": "yes",
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
            "ConnectTimeout": 5,
        }
        given = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
        login = ("-F", "none", "-i", str(self.key_file), *given, f"{USER}@{self.address}")
        return subprocess.run(["ssh", *login, *command], input=stdin, capture_output=True, text=True, timeout=60)

    def _await(self) -> None:
        deadline = time.monotonic() + BOOT_SECONDS
        while (done := self._ssh("sudo cloud-init status --wait")).returncode and time.monotonic() < deadline:
            time.sleep(0.5)
        assert done.returncode == 0, (done.stdout, done.stderr)


def _user_data(login: asyncssh.SSHKey, host: asyncssh.SSHKey) -> str:
    config = {
        "ssh_pwauth": False,
        "users": [
            {
                "name": USER,
                "shell": "/bin/bash",
                "lock_passwd": True,
                "sudo": "ALL=(ALL) NOPASSWD:ALL",
                "ssh_authorized_keys": [login.export_public_key().decode().strip()],
            }
        ],
        "ssh_deletekeys": True,
        "ssh_keys": {
            "ed25519_private": LiteralScalarString(host.export_private_key().decode()),
            "ed25519_public": host.export_public_key().decode().strip(),
        },
        "write_files": [
            {"path": "/etc/nftables.conf", "permissions": "0755", "content": LiteralScalarString(OWN_FILTER)}
        ],
        "runcmd": [["systemctl", "enable", "--now", "nftables.service"]],
    }
    written = StringIO()
    YAML().dump(config, written)
    return f"#cloud-config\n{written.getvalue()}"
