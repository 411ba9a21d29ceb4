"""What the commands ask machines, on a real kernel."""

import json
import subprocess

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
