"""Machines that run, but not as they should: a wrong clock, a full disk, somebody else's identity."""

import json
import shutil
import subprocess
import time
from contextlib import ExitStack, contextmanager

import pytest

from lab import machines
from lab.records import load
from tests.lab.faults.world import HOST_STATE, PROJECT, SERVE

pytestmark = [pytest.mark.lab, pytest.mark.alone]
SKEWED = ("vcubev-hosts@udp.service", "bird.service")
DROP_IN = "/run/systemd/system/{unit}.d/skew.conf"
FAKE = """[Service]
Environment=LD_PRELOAD=/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1
Environment=FAKETIME={shift} DONT_FAKE_MONOTONIC=1 FAKETIME_DONT_FAKE_MONOTONIC=1
"""
# All that a daemon may write to but /run, which no disk holds.
ON_DISK = "/tmp /var/tmp /var/log /var/lib/vcubev"
# A host avoids a hub that failed for up to 22 s, looks at it every 30 s, and moves its spare every 20 s at most.
RETURN_SECONDS = 120
CLONED = "web-2"  # not one of the watched
CLONE = "clone"


@pytest.fixture
def hub(world):
    return world.carriers()[0]


def unused(world, hub):
    """Return what is known of a hub that no host is connected to; None if one is."""
    state = world.hub_state(hub)
    if state and state["carried"]:
        return None
    units = world.run(hub, "systemctl --no-pager --plain --full status 'vcubev-*' bird.service", check=False)
    return f"{state}\n{units}"


def skew(world, hub, shift):
    """Give the daemons of a hub another time, or the right one again; they restart for it."""
    for unit in SKEWED:
        file = DROP_IN.format(unit=unit)
        text = FAKE.format(shift=shift)
        world.run(hub, f"mkdir -p {file.rpartition('/')[0]}; echo '{text}' >{file}" if shift else f"rm -f {file}")
    world.run(hub, f"systemctl daemon-reload; systemctl restart {' '.join(SKEWED)}")


@pytest.mark.parametrize("shift", ["+1h", "-1h"], ids=["ahead", "behind"])
def test_a_hub_whose_clock_is_an_hour_wrong_hurts_nobody(world, hub, shift):
    try:
        world.measure(f"hub: clock {shift}", lambda: skew(world, hub, shift), after=6).check()
        world.agree()
        if shift == "+1h":
            # One that is behind may take new certificates for not yet valid; then hosts stay with the others.
            world.until(lambda: unused(world, hub), RETURN_SECONDS, "no host is connected to it")
    finally:
        skew(world, hub, "")


@contextmanager
def full_disk(world, machine):
    """Leave no byte where daemons write: small disks over those places, as the lab's machines share this computer's."""
    fill = "mount -t tmpfs -o size=4k,mode=1777 full $place && ! head -c 1M /dev/zero >$place/full 2>/dev/null"
    world.run(machine, f"for place in {ON_DISK}; do {fill} || exit 1; done; ! touch /tmp/x || ! echo x >/tmp/x")
    try:
        yield
    finally:
        world.run(machine, f"for place in {ON_DISK}; do umount -l $place; done")


def test_a_hub_whose_disk_is_full_carries_and_takes_hosts_or_none(world, hub):
    with full_disk(world, hub):
        # Whoever comes to it now must get an address and a route, or go elsewhere.
        kill = lambda: world.kill(hub, "vcubev-hosts@udp.service", "vcubev-hub.service", "bird.service")  # noqa: E731
        world.measure("hub: disk full, daemons killed", kill, after=6).check()
        world.agree()
        world.settle()
        world.until(lambda: unused(world, hub), RETURN_SECONDS, "no host is connected to it")
        world.agree()


@contextmanager
def clone(world, host, neighbour):
    """Run a copy of a host's disk as well, beside another host."""
    stack = load(PROJECT, world.tree.stack)
    original, beside = (machines.named(stack, f"{stack.name}-{name}") for name in (host, neighbour))
    name = f"{stack.name}-{CLONE}"
    place = (beside.network_id, beside.firewall_id)
    machines.create_machine(PROJECT, stack.name, name, *place, original.image, "#cloud-config\n{}", True)
    try:
        machines.power_off(PROJECT, stack.name, name)
        made = load(PROJECT, stack.name)
        disk = made.machine_directory(made.machines[name]) / "upper"
        shutil.rmtree(disk)
        subprocess.run(["cp", "-a", stack.machine_directory(original) / "upper", disk], check=True)
        machines.start(PROJECT, stack.name, name)
        yield
    finally:
        machines.delete_machine(PROJECT, stack.name, load(PROJECT, stack.name).machines[name].id)


def test_of_two_machines_with_one_identity_the_newest_is_reached_and_hubs_never_send_to_both(world):
    address = world.hosts[CLONED]["ipv4"]
    # The original refuses at this port.
    program = SERVE.format(address=address, port=7009)
    serve = f'until python3 -c "{program}" 2>/dev/null; do sleep 0.2; done'  # once it has its address
    with ExitStack() as stack:

        def come():
            stack.enter_context(clone(world, CLONED, "web-3"))
            # Dies with the machine.
            silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            stack.callback(world.start(CLONE, "sh", "-c", serve, **silent).kill)
            world.until(lambda: not world.connects("web-4", address, 7009), 15, "the newest is not reached")
            for _ in range(8):
                world.agree(seconds=3)
                time.sleep(1)

        # Wherever the two push each other out, nobody else hears of it.
        done = world.measure("host: cloned", come).check()
        assert not done.hit, done
        rivals = lambda: [json.loads(world.run(name, f"cat /{HOST_STATE}"))["rival"] for name in (CLONED, CLONE)]  # noqa: E731
        world.until(lambda: not any(rivals()), 30, "neither of the two says that there is another")
    world.settle()
    world.until(lambda: not world.reaches("web-4", CLONED), 15, "the original is not reached again")
