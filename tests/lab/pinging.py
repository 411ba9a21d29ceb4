"""Pings between the hosts of the two-site lab while something else happens."""

import contextlib
import json
import re
import subprocess
import time


@contextlib.contextmanager
def pings(lab, pairs):
    """Ping from hosts to addresses all the while, fifty times a second; yields what fills with (pair, lost packets)."""
    command = ("exec", "--stack", lab.stack)
    running = {
        pair: subprocess.Popen(
            ["./scripts/lab", *command, pair[0], "--", "ping", "-q", "-i", "0.02", pair[1]],
            cwd=lab.tree,
            env=lab.environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for pair in pairs
    }
    lost = {}
    try:
        yield lost
        time.sleep(3)
    finally:
        for pair, process in running.items():
            # Within the machine: what stands before it in this computer's list of processes only waits.
            lab.lab("exec", pair[0], "--", "pkill", "-INT", "ping")
            told_at_end = process.communicate(timeout=10)[0]
            sent, received = re.search(r"(\d+) packets transmitted, (\d+) received", told_at_end).groups()
            assert int(sent) > 100, "the probe did not run"
            # Of the last ones the answer may be under way.
            lost[pair] = max(0, int(sent) - int(received) - 1)


EVERY_WAY = (("web-1", "10.100.1.2"), ("web-2", "10.100.2.1"), ("db-2", "10.100.1.1"), ("db-1", "10.100.2.2"))


def settle(lab):
    """Wait until each host has both of its tunnels."""
    show = ("--", "cat", "/run/vcubev-paths/state.json")
    deadline = time.monotonic() + 60
    while True:
        states = [json.loads(lab.lab("exec", host, *show).stdout) for host, _ in EVERY_WAY]
        if all(path["alive"] and path["fit"] for state in states for path in state["paths"].values()):
            return
        assert time.monotonic() < deadline, states
        time.sleep(1)
