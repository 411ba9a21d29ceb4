"""The whole thing on real machines, through the commands that a user types. The tests build on each other, in order."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import time

import pytest

from tests.lab.worktree import WorkTree

pytestmark = pytest.mark.lab
STACK = "e2e"


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    tree = WorkTree(tmp_path_factory.mktemp("e2e"), STACK)
    tree.lab("sweep")  # of a run that was killed
    tree.edit(
        lambda config: config.update(
            {"vcubev:services": {"db": {"on": "db", "ports": ["5432/tcp", "53/udp"], "from": ["web"]}}}
        )
    )
    try:
        yield tree
    finally:
        tree.clean()


def told(done):
    return f"exit code {done.returncode}\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}"


def test_a_stack_file_with_mistakes_changes_nothing_and_names_them_all(lab):
    right = lab.file.read_text()
    lab.edit(lambda config: config["vcubev:sites"]["paris"].update(id=1, cloud="gcp"))
    done = lab.up()
    assert done.returncode == 2, told(done)
    assert "sites.paris.id" in done.stderr and "sites.paris.cloud" in done.stderr
    assert not lab.backend.exists(), "nothing may be made"
    lab.file.write_text(right)


def test_up_makes_two_sites_where_every_host_reaches_every_other(lab):
    done = lab.up()
    assert done.returncode == 0, told(done)
    for host, address in {"web-1": "10.100.1.1", "db-1": "10.100.2.1", "db-2": "fd5c:ab1e:0:2::2"}.items():
        assert re.search(rf"{host}\b.*{re.escape(address)}", done.stdout), f"{host} is not in the table"
    assert done.stdout.count(" ok ") >= 12, "four hosts, each reaching three others"
    assert len(re.findall(r"at its virtual address \S+ ok, through hub", done.stdout)) == 2, told(done)


SERVER = """
import socket, threading
def serve(listener):
    while True:
        with listener.accept()[0] as connection:
            connection.sendall(b"here")
for port in (5432, 5433):
    threading.Thread(target=serve, args=(socket.create_server(("", port)),)).start()
"""
ASKED = [("web-1", "db-1", 5432), ("web-2", "db-1", 5432), ("web-1", "db-1", 5433), ("db-2", "db-1", 5432)]


def test_a_service_is_open_to_whom_the_policy_names_and_to_nobody_else(lab):
    lab.lab("exec", "db-1", "--", "systemd-run", "--quiet", "--unit=served", "python3", "-c", SERVER)
    time.sleep(1)
    connect = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 1.5)"
    for source, target, port in ASKED:
        explained = lab.script("policy", "explain", source, target, f"{port}/tcp", "--stack", STACK)
        where = ("10.100.2.1", str(port))
        reached = lab.lab("exec", source, "--", "python3", "-c", connect, *where)
        assert (reached.returncode == 0) is (explained.returncode == 0), (source, port, told(explained), told(reached))
        assert (reached.returncode == 0) is (source.startswith("web") and port == 5432), (source, port)
    lab.lab("exec", "db-1", "--", "systemctl", "stop", "served")


def test_a_second_up_changes_nothing_and_says_so(lab):
    done = lab.up()
    assert done.returncode == 0, told(done)
    assert "Nothing changed." in done.stdout
    assert lab.preview() == {}


def test_the_policy_pack_lets_the_lab_pass_and_stops_a_stack_that_opens_ssh_to_everybody(lab):
    pack = ("--policy-pack", "policy/pulumi-analyzer-vcubev")
    done = lab.pulumi("policy", "analyze", *pack)
    assert done.returncode == 0, told(done)
    right = lab.file.read_text()
    lab.edit(lambda config: config.update({"vcubev:operators": ["0.0.0.0/0"]}))
    done = lab.pulumi("preview", *pack)
    assert done.returncode != 0 and "ssh-from-everywhere" in done.stdout, told(done)
    lab.file.write_text(right)


def test_no_key_is_in_the_state_in_the_output_or_in_a_readable_file(lab):
    outputs = lab.pulumi("stack", "export", "--show-secrets").stdout
    blocks = re.findall(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----(.*?)-----END", outputs, flags=re.DOTALL)
    # A private key's file holds its public key, too; what else stands in its lines is nobody's business.
    public = " ".join(re.findall(r"(?:ssh-ed25519|ecdsa-sha2-nistp256) [A-Za-z0-9+/=]+", outputs))
    # Line ends as JSON within JSON writes them.
    lines = {line for block in blocks for line in re.split(r"\\+n|\n", block) if len(line) >= 40}
    lines = {line for line in lines if line not in public and not line.startswith("b3BlbnNzaC1rZXktdjE")}
    assert len(lines) > 20, "the search would find nothing"
    plain = lab.pulumi("stack", "export").stdout
    places = {"the exported state": plain, "what commands printed": lab.log.read_text().replace(outputs, "")}
    for file in lab.backend.rglob("*"):
        if file.is_file():
            places[str(file)] = file.read_text(errors="replace")
    journal = "journalctl --no-pager -q | cat; cat /proc/[0-9]*/cmdline | tr '\\0' ' '; cat /var/log/cloud-init*.log"
    for machine in ("oregon-a", "web-1"):
        places[f"logs and processes of {machine}"] = lab.run(
            "./scripts/lab", "exec", "--stack", STACK, machine, "--", "sh", "-c", journal
        ).stdout
    # The log keeps what the first line of this test printed; it is taken out above.
    found = {place for place, text in places.items() if any(line in text for line in lines)}
    assert not found
    passphrase = lab.backend / "passphrase"
    assert passphrase.stat().st_mode & 0o777 == 0o600
    assert not any(passphrase.read_text() in text for place, text in places.items() if place != str(passphrase))


def test_keys_on_a_machine_are_for_root_only(lab):
    find = "find /etc/vcubev /var/lib/vcubev -type f -perm /077 -exec grep -l PRIVATE {} +; ls /etc/ssh/ssh_host_*"
    for machine in ("oregon-a", "web-1", "db-2"):
        seen = lab.run("./scripts/lab", "exec", "--stack", STACK, machine, "--", "sh", "-c", find).stdout
        assert "/etc/vcubev" not in seen
        assert "ssh_host_ed25519_key" in seen and "ecdsa" not in seen, "the first contact's key must be gone"


def test_adding_a_host_shows_creates_only_and_touches_nothing(lab):
    before = started(lab)
    lab.edit(lambda config: config["vcubev:sites"]["paris"]["hosts"].update({"web-3": {"role": "web", "id": 3}}))
    shown = lab.preview()
    assert set(shown) == {"create"}, shown
    assert all("web-3" in name for name in shown["create"])
    done = lab.up()
    assert done.returncode == 0, told(done)
    assert re.search(r"web-3\b.*10\.100\.1\.3", done.stdout)
    assert started(lab) == before, "a daemon of an existing machine was restarted"


def started(lab):
    """Return when the daemons of two machines that exist were started."""
    show = (
        "systemctl show -p ExecMainStartTimestampMonotonic vcubev-hosts@udp vcubev-hosts@tcp vcubev-hub vcubev-link@1 "
        "vcubev-link@2 vcubev-path@1 vcubev-path@2 vcubev-paths bird"
    )
    command = ("--", "sh", "-c", show)
    return [lab.run("./scripts/lab", "exec", "--stack", STACK, name, *command).stdout for name in ("paris-a", "web-2")]


def test_lost_machines_are_made_anew_with_the_same_addresses(lab):
    before = lab.addresses()
    # A hub too: its site's private host is reached through it, and must take up with the new one.
    for machine in ("web-2", "oregon-a"):
        assert lab.lab("terminate", machine).returncode == 0
    done = lab.up()
    assert done.returncode == 0, told(done)
    assert lab.addresses() == before


def test_a_machine_that_lost_power_is_started_again_as_it_was(lab):
    before = lab.addresses()
    for machine in ("oregon-a", "db-1"):
        assert lab.lab("power-off", machine).returncode == 0
    done = lab.up()
    assert done.returncode == 0, told(done)
    assert lab.addresses() == before
    assert "updated" in done.stdout and "replaced" not in done.stdout


@contextlib.contextmanager
def pings(lab, pairs):
    """Ping from hosts to addresses all the while, fifty times a second; yields what fills with (pair, lost packets)."""
    command = ("exec", "--stack", STACK)
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


def test_a_changed_hub_configuration_rolls_from_hub_to_hub_with_no_packet_lost(lab):
    settle(lab)
    for site in ("oregon", "paris"):
        lab.edit(lambda config, site=site: config["vcubev:sites"][site]["hubs"]["a"].update(tcp_port=8443))
    with pings(lab, EVERY_WAY) as lost:
        done = lab.up()
    assert done.returncode == 0, told(done)
    assert lost == dict.fromkeys(EVERY_WAY, 0)


def test_hubs_of_another_image_replace_the_old_ones_in_turn_with_no_packet_lost(lab):
    images = lab.tree / "lab" / "images"
    shutil.copy(images / "debian-12.toml", images / "debian-12-again.toml")  # another name, the same bytes: no build
    for site in ("oregon", "paris"):
        lab.edit(lambda config, site=site: config["vcubev:sites"][site]["hubs"]["a"].update(image="debian-12-again"))
    settle(lab)
    before = lab.addresses()
    with pings(lab, EVERY_WAY) as lost:
        done = lab.up()
    assert done.returncode == 0, told(done)
    assert len(re.findall(r"lab:index:Machine e2e-\w+-a created replacement", done.stdout)) == 2, told(done)
    assert lost == dict.fromkeys(EVERY_WAY, 0)
    assert lab.addresses() == before


def test_removing_a_site_renumbers_nobody_and_the_rest_goes_on(lab):
    before = lab.addresses()
    right = lab.file.read_text()
    lab.edit(lambda config: config["vcubev:sites"].pop("paris"))
    shown = lab.preview()
    assert not any("replace" in operation or operation == "create" for operation in shown), shown
    done = lab.up()
    assert done.returncode == 0, told(done)
    after = lab.addresses()
    assert after == {name: address for name, address in before.items() if name in after}
    assert set(after) == {"oregon/a", "web-1", "db-1"}
    lab.file.write_text(right)


def test_an_up_that_was_killed_can_be_run_again(lab):
    environment = lab.environment
    killed = subprocess.Popen(
        ["./scripts/up", STACK], cwd=lab.tree, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    time.sleep(9)  # in the middle of paris' machines
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    done = lab.up()
    assert done.returncode == 0, told(done)
    assert lab.preview() == {}


def test_down_leaves_nothing(lab):
    assert json.loads(lab.pulumi("stack", "ls", "--json").stdout or "[]") is not None
    done = lab.script("down", STACK)
    assert done.returncode == 0, told(done)
    assert not lab.backend.exists(), "state and passphrase of the last lab stack"
    left = lab.lab("leftovers")
    assert left.returncode == 0, told(left)
    assert "encryptionsalt" not in lab.file.read_text()
    again = lab.script("down", STACK)
    assert again.returncode == 0 and "not up" in again.stdout
