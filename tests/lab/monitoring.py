"""What operators see of a stack that is up, and what Prometheus does, on the machines of another test's stack."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from typing import Any

import jsonschema

from components.model.policy import METRICS_PORT
from tests.agents.loading import load
from tests.lab.operating import told
from tests.lab.worktree import ROOT, WorkTree
from tests.scripts.prometheus import OTHERS, promtool_takes

MEMBERS = ("oregon/a", "paris/a", "web-1", "web-2", "db-1", "db-2")
DYNAMIC_USERS = range(61_184, 65_520)  # systemd.exec(5)
ASK = """
import sys, urllib.request
try:
    print(urllib.request.urlopen(f"http://{sys.argv[1]}/metrics", timeout=2).read().decode())
except OSError as problem:
    sys.exit(str(problem))
"""
FAILED_OVER = """
import json
state = json.load(open("/run/vcubev-paths/state.json"))
print(state["active"])
"""


def see_it(lab: WorkTree) -> None:
    """Look once, as people and as programs: every member, every way, every life."""
    shown = lab.script("status", lab.stack, "--between-hosts")
    assert shown.returncode == 0 and "All is well." in shown.stdout, told(shown)
    for title in ("Hosts", "Hubs", "Links", "Round trips to hubs", "Round trips between hosts"):
        assert f"{title}" in shown.stdout, title
    found = look(lab)
    members = {member["name"]: member for member in (*found["hubs"], *found["hosts"])}
    assert set(members) == set(MEMBERS) and found["well"] and not found["unseen"]
    for member in members.values():
        assert member["state"] == "up" and member["certificate_ends"] > found["time"], member
        assert re.fullmatch(r"2\.\d+\.\d+", member["versions"]["openvpn"]) and member["dco"] is False, member
        assert "no service" in member["counters"]["drop"], "the policy's own counter"
    for hub in found["hubs"]:
        (link,) = hub["links"]
        assert (link["bgp"], link["bfd"]) == ("Established", "Up") and link["since"] < found["time"]
        assert hub["preferred"] == 2 and hub["carried"] == 4 and hub["transports"] == {"udp": 4, "tcp": 0}
    trips = {(trip["source"], trip["target"]): trip["ms"] for trip in found["round_trips"]}
    for source in MEMBERS:
        assert all(trips[source, hub] is not None for hub in ("oregon/a", "paris/a") if hub != source), source


def look(lab: WorkTree, code: int = 0) -> dict[str, Any]:
    """Return what `status` says to programs, in the form that is written down."""
    done = lab.script("status", lab.stack, "--json")
    assert done.returncode == code, told(done)
    found = json.loads(done.stdout)
    jsonschema.validate(found, json.loads((ROOT / "docs" / "status.schema.json").read_text()))
    return found


def watch_a_fail_over(lab: WorkTree) -> None:
    """Kill the tunnel that a host sends by: who watches sees it move, and how long it had no answer. Ctrl-C ends."""
    command = ["./scripts/status", lab.stack, "--watch", "--json", "--every", "0.5"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}

    def heed() -> None:  # a shell's background ignores Ctrl-C, and so would all that runs in it
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    watcher = subprocess.Popen(command, cwd=lab.tree, env=lab.environment, text=True, preexec_fn=heed, **pipes)
    try:
        first = json.loads(watcher.stdout.readline())
        before = next(host for host in first["hosts"] if host["name"] == "web-1")
        number = lab.lab("exec", "web-1", "--", "python3", "-c", FAILED_OVER).stdout.strip()
        lab.lab("exec", "web-1", "--", "systemctl", "kill", "--signal=KILL", f"vcubev-path@{number}.service")
        deadline = time.monotonic() + 20
        while True:
            assert time.monotonic() < deadline, "nobody saw it"
            host = next(h for h in json.loads(watcher.stdout.readline())["hosts"] if h["name"] == "web-1")
            move = host["last_move"]
            if move and move != before["last_move"] and move["outage_ms"] is not None:
                break
        assert (move["source"], move["target"], move["reason"]) == (before["primary"], before["spare"], "silent")
        assert 200 < move["outage_ms"] < 3000 and host["primary"] == before["spare"], host
        watcher.send_signal(signal.SIGINT)
        _, problem = watcher.communicate(timeout=20)
        assert watcher.returncode in (0, 3) and "Traceback" not in problem, problem
    finally:
        watcher.kill()


def ask_for_metrics(lab: WorkTree) -> None:
    """Let role web ask: only creates; then all members answer it, over the overlay, and nobody else anywhere."""
    assert lab.script("vcubev", "targets", lab.stack).returncode == 2
    lab.edit(lambda config: config.update({"vcubev:metrics": {"from": ["web"]}}))
    shown = lab.preview()
    assert set(shown) == {"create"} and len(shown["create"]) == 2 + len(MEMBERS), shown
    done = lab.up()
    assert done.returncode == 0, told(done)
    targets = json.loads(lab.script("vcubev", "targets", lab.stack).stdout)
    assert {target["labels"]["member"] for target in targets} == set(MEMBERS)
    six = [f"[{ends[1]}]:{METRICS_PORT}" for ends in lab.addresses().values()]
    pages = {}
    for endpoint in (*(target["targets"][0] for target in targets), *six):
        asked = lab.lab("exec", "web-1", "--", "python3", "-c", ASK, endpoint)
        assert asked.returncode == 0, (endpoint, told(asked))
        pages[endpoint] = asked.stdout
    whole = "".join(pages.values())
    promtool_takes(pages[targets[0]["targets"][0]])
    served = set(re.findall(r"^(?:vcubev|node)_\w+", whole, re.MULTILINE))
    unused = {"vcubev_last_failover_seconds", "vcubev_last_outage_seconds"}  # nobody may have moved yet
    own = {name for name in load("metrics").KINDS if not name.startswith("vcubev_direct_")}  # it has none
    assert own - unused <= served and served >= OTHERS
    four = {target["labels"]["member"]: target["targets"][0] for target in targets}
    for source, endpoint in (
        ("db-1", four["web-2"]),
        ("db-2", four["db-1"]),
        ("db-1", four["paris/a"]),
        ("db-1", six[0]),
    ):
        assert lab.lab("exec", source, "--", "python3", "-c", ASK, endpoint).returncode != 0, (source, endpoint)
    for name, member in lab.outputs()["hosts"].items():
        sockets = lab.lab("exec", name, "--", "ss", "-tlnH", f"sport = :{METRICS_PORT}").stdout
        own = {member["ipv4"], f"[{member['ipv6']}]"}
        assert {line.split()[3].rpartition(":")[0] for line in sockets.splitlines()} == own, sockets
        # The kernel keeps fifteen letters of a program's name.
        (user,) = lab.lab("exec", name, "--", "ps", "-o", "uid=", "-C", "prometheus-node").stdout.split()
        assert int(user) in DYNAMIC_USERS, user
    assert lab.preview() == {}


def stop_asking(lab: WorkTree) -> None:
    """Take it out again: nothing of it is left on a machine."""
    lab.edit(lambda config: config.pop("vcubev:metrics"))
    shown = lab.preview()
    assert set(shown) == {"delete"}, shown
    done = lab.up()
    assert done.returncode == 0, told(done)
    left = (
        "ss -tlnH 'sport = :9190'; ls /etc/vcubev/doors; nft list ruleset | grep metrics; systemctl cat vcubev-metrics"
    )
    for machine in ("oregon-a", "web-1"):
        assert lab.lab("exec", machine, "--", "sh", "-c", f"{left} 2>/dev/null || :").stdout == ""
