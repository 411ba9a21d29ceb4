"""The lab behaves like a cloud: real machines, so root and about half a minute. Asks the library, not the engine."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from lab import containers, leftovers, machines, networks, underlay
from lab.addresses import router_address
from lab.records import Rule, Stack, load
from lab.system import run, succeeds

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="makes machines: needs root")]

PROJECT = "labtest"
STACK, NEIGHBOUR = f"one{os.getpid()}", f"two{os.getpid()}"
PRIVATE_PREFIX = "10.1.0.0/24"  # the same everywhere, on purpose
ICMP = Rule(protocol="icmp", sources=["0.0.0.0/0"])
REPO = Path(__file__).parents[2]
BOOT_SECONDS = 30


class Site:
    """A network with one firewall, in one of the two stacks."""

    def __init__(self, stack: str, name: str) -> None:
        self.stack, self.name = stack, name
        self.state = networks.create_network(PROJECT, stack, name, PRIVATE_PREFIX)
        self.firewall_id = networks.create_firewall(PROJECT, stack, f"{name}-fw", self.state.id, [])
        self.allow(tcp("22", f"{self.state.operator_address}/32"), ICMP)

    def allow(self, *rules: Rule) -> None:
        networks.update_firewall(PROJECT, self.stack, self.firewall_id, list(rules))

    def launch(self, name: str, user_data: str, public: bool = True) -> machines.MachineState:
        return machines.create_machine(
            PROJECT, self.stack, name, self.state.id, self.firewall_id, "debian-12", user_data, public
        )


class Lab:
    """Two sites of one stack, a third of a neighbour, and how to log in."""

    def __init__(self, directory: Path) -> None:
        self.login_key, host_key = directory / "login", directory / "host"
        for key in (self.login_key, host_key):
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key))
        self.host_key = " ".join(host_key.with_suffix(".pub").read_text().split()[:2])
        user = {
            "name": "vcubev",
            "sudo": "ALL=(ALL) NOPASSWD:ALL",
            "ssh_authorized_keys": [self.login_key.with_suffix(".pub").read_text().strip()],
        }
        keys = {"ed25519_private": host_key.read_text(), "ed25519_public": self.host_key}
        config = {"users": [user], "ssh_keys": keys, "package_update": True, "packages": ["openvpn", "bird2"]}
        self.user_data = f"#cloud-config\n{json.dumps(config)}"
        self.west, self.east = Site(STACK, "west"), Site(STACK, "east")
        self.neighbour = Site(NEIGHBOUR, "west")
        # First, so that no two machines of the two sites have the same private address.
        self.hub = self.west.launch("hub", self.user_data, True)
        wanted = [
            (self.west, "web-1", False),
            (self.east, "far", True),
            (self.neighbour, "hub", True),
        ]
        with ThreadPoolExecutor() as pool:
            made = list(pool.map(lambda one: one[0].launch(one[1], self.user_data, one[2]), wanted))
        self.web, self.far, self.other = made
        for name in ("hub", "web-1", "far"):
            eventually(lambda name=name: self.inside(name, "cloud-init status --wait"), "cloud-init ends well")

    def inside(self, name: str, script: str) -> bool:
        return self.output(name, script) is not None

    def output(self, name: str, script: str) -> str | None:
        """Run a script in a machine of the stack; None if it fails."""
        command = [sys.executable, "-m", "lab.cli", "exec", "--stack", STACK, name, "--", "sh", "-c", script]
        done = subprocess.run(command, capture_output=True, text=True, cwd=REPO, timeout=BOOT_SECONDS)
        return done.stdout if done.returncode == 0 else None

    def reaches(self, name: str, address: object, port: int = 22) -> bool:
        return self.inside(name, f"timeout 1 bash -c 'exec 3<>/dev/tcp/{address}/{port}'")

    def ssh(self, address: object, command: str) -> str:
        known = self.login_key.with_name("known_hosts")
        known.write_text(f"{address} {self.host_key}\n")
        options = ["-o", f"UserKnownHostsFile={known}", "-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes"]
        return run("ssh", "-i", str(self.login_key), *options, f"vcubev@{address}", command)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    directory = tmp_path_factory.mktemp("lab")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VCUBEV_LAB_ROOT", str(directory / "root"))
        try:
            yield Lab(directory)
        finally:
            for name in (STACK, NEIGHBOUR):
                assert leftovers.sweep(load(PROJECT, name)) == [], "the next run would find it"


def tcp(port: str, *sources: str) -> Rule:
    return Rule(protocol="tcp", ports=[port], sources=list(sources))


def opens(address: object, port: int = 22, seconds: float = 1) -> bool:
    with suppress(OSError), socket.create_connection((str(address), port), seconds):
        return True
    return False


def answers(address: object) -> bool:
    return succeeds("ping", "-c1", "-W1", str(address))


def eventually(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + BOOT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {BOOT_SECONDS} s"
        time.sleep(0.2)


def record(name: str = STACK) -> Stack:
    return load(PROJECT, name)


def test_a_public_machine_takes_the_login_and_the_host_key_of_its_user_data(lab: Lab) -> None:
    assert lab.ssh(lab.hub.address, "sudo -n id -u; hostname").split() == ["0", "hub"]


def test_a_private_machine_gets_out_under_its_routers_address_and_cannot_be_got_at(lab: Lab) -> None:
    router = router_address(record().networks["west"])
    lab.east.allow(tcp("22", f"{router}/32", f"{lab.east.state.operator_address}/32"))
    assert lab.reaches("web-1", lab.far.address), "the far site sees its router, whom it lets in"
    assert not lab.reaches("hub", lab.far.address), "a public machine goes out under its own address"
    assert not lab.reaches("far", lab.web.address), "private addresses mean nothing at another site"
    assert not opens(router), "the router takes nothing in for its private machines"


def test_two_machines_of_one_network_meet_only_as_the_firewall_lets_them(lab: Lab) -> None:
    assert not lab.reaches("hub", lab.web.address), "a security group holds inside its network as well"
    operator = f"{lab.west.state.operator_address}/32"
    lab.west.allow(tcp("22", operator, f"{lab.hub.private_address}/32"), ICMP)
    assert lab.reaches("hub", lab.web.address), "no NAT lies between them: the source is the hub's own private address"


def test_a_changed_rule_counts_at_once_and_spares_what_is_connected(lab: Lab) -> None:
    operator = f"{lab.west.state.operator_address}/32"
    lab.west.allow(tcp("22", operator), ICMP)
    with socket.create_connection((str(lab.hub.address), 22), 2) as connection:
        assert connection.recv(100).startswith(b"SSH-2.0")
        lab.west.allow(ICMP)
        assert not opens(lab.hub.address), "what no rule names is dropped"
        connection.sendall(b"SSH-2.0-test\r\n")
        assert connection.recv(100), "the firewall is stateful: replies pass"
    assert answers(lab.hub.address), "each rule is for its own protocol"
    lab.west.allow(tcp("20-30", operator, "198.0.0.0/8"), tcp("22", operator), ICMP)
    assert opens(lab.hub.address), "overlapping sources and ports are no mistake"


def test_a_machine_may_route_open_tunnels_and_keep_a_firewall(lab: Lab) -> None:
    tun = (
        "import fcntl,struct,os; t=open('/dev/net/tun','r+b',0); fcntl.ioctl(t,0x400454ca,struct.pack('16sH',b't0',1))"
    )
    check = "os.system('ip link set t0 up; sleep .2; ip -6 address show dev t0 | grep -q fe80') and exit(1)"
    assert lab.inside("hub", f'python3 -c "{tun}; {check}"'), "hubs find each other by link-local addresses"
    assert lab.inside("hub", "sysctl -qw net.ipv4.ip_forward=1 && nft add table inet t && nft delete table inet t")
    assert lab.output("hub", "systemctl is-enabled openvpn bird nftables chrony || true").split() == ["disabled"] * 4
    assert lab.output("hub", "systemctl list-units --failed --plain --no-legend") == "", "a cloud's image boots clean"


def test_what_user_data_holds_is_for_root_only_and_in_no_record(lab: Lab) -> None:
    stack = record()
    seed = stack.machine_directory(stack.machines["hub"]) / "upper" / containers.SEED
    assert (seed.stat().st_mode & 0o777, (seed / "user-data").stat().st_mode & 0o777) == (0o700, 0o600)
    assert stack.directory.stat().st_mode & 0o777 == 0o700
    assert "PRIVATE KEY" not in (stack.directory / "stack.json").read_text()
    assert "PRIVATE KEY" not in containers.console(stack, stack.machines["hub"]).read_text(errors="replace")


def test_a_machine_whose_plug_was_pulled_is_found_and_started_from_its_own_disk(lab: Lab) -> None:
    assert lab.inside("hub", "echo kept > /var/kept && ip tuntap add mode tun left && sleep 300 >/dev/null 2>&1 &")
    machines.power_off(PROJECT, STACK, "hub")
    assert containers.processes(record().namespace(record().machines["hub"])) == [], "not even what exec started"
    found = machines.read_machine(PROJECT, STACK, lab.hub.instance_id)
    assert found is not None and not found.running, "a refresh must see it"
    assert machines.update_machine(PROJECT, STACK, lab.hub.instance_id, lab.west.firewall_id) == lab.hub
    eventually(lambda: opens(lab.hub.address), "sshd is back")
    assert lab.output("hub", "cat /var/kept") == "kept\n", "the same disk"
    assert not lab.inside("hub", "ip link show left"), "a kernel that died keeps no devices"


def test_a_machine_that_reboots_itself_comes_back(lab: Lab) -> None:
    boot = "systemctl show -P UserspaceTimestampMonotonic"
    before = lab.output("far", boot)
    lab.inside("far", "systemctl reboot")
    eventually(lambda: lab.output("far", boot) not in (None, "", before), "the second boot")
    eventually(lambda: opens(lab.far.address), "sshd is back")


def test_a_machine_stops_though_somebody_is_at_work_in_it(lab: Lab) -> None:
    """What stands outside for a program in it is stopped with that program as systemd ends everything, and stays so."""
    namespace = record().namespace(record().machines["far"])
    command = [sys.executable, "-m", "lab.cli", "exec", "--stack", f"{PROJECT}.{STACK}", "far", "--", "sleep", "600"]
    with subprocess.Popen(command, cwd=REPO) as at_work:
        eventually(lambda: lab.inside("far", "pgrep -x sleep"), "somebody is at work")
        began = time.monotonic()
        containers.stop(namespace)
        assert time.monotonic() - began < containers.GRACE_SECONDS / 2
        containers.kill(namespace)
        at_work.wait(timeout=10)
    machines.start(PROJECT, STACK, "far")
    eventually(lambda: opens(lab.far.address), "sshd is back")


def test_after_a_reboot_of_the_computer_everything_is_reported_down_and_can_be_started(lab: Lab) -> None:
    stack = record()
    for name in ("hub", "web-1"):
        containers.kill(stack.namespace(stack.machines[name]))
        underlay.remove_namespace(stack.namespace(stack.machines[name]))
    underlay.remove_site(stack, record().networks["west"])
    state = networks.read_network(PROJECT, STACK, lab.west.state.id)
    assert state is not None and not state.running
    assert networks.start_network(PROJECT, STACK, lab.west.state.id) == lab.west.state, "with the same addresses"
    for machine in (lab.hub, lab.web):
        assert machines.update_machine(PROJECT, STACK, machine.instance_id, lab.west.firewall_id) == machine
    eventually(lambda: opens(lab.hub.address), "the rules are back with the router")
    assert opens(lab.far.address), "another site was not touched"


def test_a_lost_machine_is_reported_gone_and_its_successor_has_its_address(lab: Lab) -> None:
    machines.terminate(PROJECT, STACK, "web-1")
    assert machines.read_machine(PROJECT, STACK, lab.web.instance_id) is None
    machines.delete_machine(PROJECT, STACK, lab.web.instance_id)  # that it is gone is no error
    successor = lab.west.launch("web-1", lab.user_data, public=False)
    assert successor.address == lab.web.address, "peers know it by that address"
    assert successor.instance_id != lab.web.instance_id, "what was installed on the disk has to be installed again"
    machines.delete_machine(PROJECT, STACK, lab.web.instance_id)
    assert machines.read_machine(PROJECT, STACK, successor.instance_id), "a late delete hits the old id only"
    lab.web = successor


def test_an_up_killed_while_it_makes_a_machine_leaves_nothing_that_the_next_does_not_clear(lab: Lab) -> None:
    child = os.fork()
    if child == 0:  # dies with the record, the disk and the link in place, and the machine about to boot
        containers.await_boot = containers.start = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        lab.west.launch("unlucky", lab.user_data)
        os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    namespace = record().namespace(record().machines["unlucky"])
    assert underlay.exists(namespace), "it died too early to prove anything"
    networks.create_firewall(PROJECT, STACK, "another", lab.west.state.id, [])
    assert lab.west.launch("lucky", lab.user_data).running
    assert "unlucky" not in record().machines
    machines.terminate(PROJECT, STACK, "lucky")


def test_two_stacks_with_the_same_names_and_prefixes_never_meet(lab: Lab) -> None:
    eventually(lambda: opens(lab.other.address), "the neighbour's sshd")
    lab.neighbour.allow(tcp("22", "0.0.0.0/0"), ICMP)
    assert opens(lab.other.address)
    assert not lab.reaches("far", lab.other.address), "it lets everybody in, but no way leads there"
    assert networks.read_network(PROJECT, STACK, lab.neighbour.state.id) is None


def test_deleting_the_last_network_leaves_nothing_even_with_machines_in_it(lab: Lab) -> None:
    machines.power_off(PROJECT, NEIGHBOUR, "hub")
    for _ in range(2):
        networks.delete_network(PROJECT, NEIGHBOUR, lab.neighbour.state.id)
    assert leftovers.find(record(NEIGHBOUR)) == [], "a user's computer is as it was"
    assert opens(lab.far.address), "and the stack beside it runs on"


def test_deleting_one_by_one_as_the_engine_does_leaves_nothing(lab: Lab) -> None:
    with ThreadPoolExecutor() as pool:
        ids = [machine.id for machine in record().machines.values()]
        list(pool.map(lambda machine: machines.delete_machine(PROJECT, STACK, machine), ids))
    for firewall in [firewall.id for firewall in record().firewalls.values()]:
        networks.delete_firewall(PROJECT, STACK, firewall)
    for site in (lab.west, lab.east):
        networks.delete_network(PROJECT, STACK, site.state.id)
    assert leftovers.find(record()) == []
    assert not record().directory.exists()
