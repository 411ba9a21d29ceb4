"""What the commands ask machines, on a real kernel."""

import asyncio
import json
import subprocess
from types import SimpleNamespace

import pytest

from scripts.cli import reach
from scripts.cli.reach import SHOW_HOSTS


def in_a_new_network(script):
    """Run a shell script in a user and a network namespace of its own, as the machine's root."""
    command = ["unshare", "--user", "--map-root-user", "--net", "sh", "-c", script]
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout


def test_a_hub_that_never_carried_a_host_says_none():
    assert json.loads(in_a_new_network(SHOW_HOSTS)) == []


def test_a_hub_that_carries_a_host_names_it():
    route = "ip link set lo up && ip route add 10.100.1.1/32 dev lo table 100"
    shown = json.loads(in_a_new_network(f"{route} metric 7; {SHOW_HOSTS}"))
    assert [(entry["dst"], entry["metric"]) for entry in shown] == [("10.100.1.1", 7)]


class Booting(reach.Observer):
    """Sees two hubs and a host, of which some refuse SSH for a while."""

    def __init__(self, inventory):
        self._inventory, self.connections = inventory, {}

    async def __aexit__(self, *reason):
        pass

    async def connect_to(self, member, **options):
        member.refusals -= 1
        if member.refusals >= 0:
            raise reach.Unreachable("Connection refused")
        self.connections[member.name] = None

    async def carriers(self):
        return {"web-1": self.connected_hubs()}

    async def routed(self):
        return True

    async def reach(self, host, others):
        return {}


@pytest.mark.parametrize("refusals, unreachable", [((0, 0, 0), set()), ((0, 3, 2), set()), ((0, 0, 10**6), {"web-1"})])
def test_a_machine_that_has_just_been_started_is_given_time_to_boot(monkeypatch, refusals, unreachable):
    monkeypatch.setattr(reach, "Observer", Booting)
    monkeypatch.setattr(reach, "POLL_SECONDS", 0.001)
    monkeypatch.setattr(reach, "JOIN_TIMEOUT_SECONDS", 0.2)
    machines = [
        SimpleNamespace(name=name, refusals=number, private=False)
        for name, number in zip(("oregon/a", "paris/a", "web-1"), refusals, strict=True)
    ]
    inventory = SimpleNamespace(hubs={m.name: m for m in machines[:2]}, pings=True, hosts={"web-1": machines[2]})
    findings = asyncio.run(reach.look(inventory))
    assert findings.unreachable.keys() == unreachable and findings.carrier == {"web-1": "oregon/a"}
