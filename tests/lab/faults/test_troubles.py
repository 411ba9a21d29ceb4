"""The likeliest troubles, each made on real machines, and what `vcubev doctor` calls them."""

import json
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from components.model.keys import numbered
from tests.lab.faults.repacking import repack, version_of

pytestmark = [pytest.mark.lab, pytest.mark.alone]
HOST, HUB = "web-1", "tokyo/a"
FAKE_CLOCK = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"


def doctor(world):
    """Return the exit code, {(kind, where)} and all that was told."""
    done = world.tree.script("vcubev", "doctor", world.tree.stack, "--json")
    assert done.stdout, done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert all(one["seen"] and one["why"] and one["cures"] for one in told["troubles"]), told
    return done.returncode, {(one["kind"], one["where"]) for one in told["troubles"]}, told


def test_where_nothing_is_wrong_nothing_is_found(world):
    code, found, told = doctor(world)
    assert (code, found) == (0, set()), told
    assert len(told["examined"]) == len(world.hubs) + len(world.hosts)


def wrong_clock(world):
    """All that root runs by sudo there has another time. The kernel's clock is this computer's and stays right.

    Preloaded into every program (/etc/ld.so.preload), the lie ends sshd's own sandboxed process.
    """
    lie = f"printf '%s\\n' LD_PRELOAD={FAKE_CLOCK} FAKETIME=+1h >/etc/skewed;"
    rights = "'Defaults env_file=/etc/skewed' 'Defaults env_keep += \"LD_PRELOAD FAKETIME\"'"
    lie += f"printf '%s\\n' {rights} >/etc/sudoers.d/zz-skewed; chmod 440 /etc/sudoers.d/zz-skewed"
    return done_and_undone(world, HOST, lie, "rm /etc/sudoers.d/zz-skewed /etc/skewed")


@contextmanager
def fault(world, *command):
    world.lab(*command)
    try:
        yield
    finally:
        world.lab("restore", command[1])


@contextmanager
def blocked_udp(world):
    with fault(world, "block", HOST, "udp"):
        world.until(lambda: not _by_tcp(world), 30, "no tunnel by TCP")
        yield
    # A host comes back to UDP in its own time, which is minutes; and its agent takes up what one before it has left.
    state = "/run/vcubev-paths/state.json"
    world.run(HOST, f"systemctl stop vcubev-paths; rm -f {state}; systemctl start vcubev-paths")
    world.until(lambda: world.state(HOST) is None, 20, "no word of the agent")
    world.settle()
    assert not _by_tcp(world)


def _by_tcp(world):
    state = world.state(HOST)
    return state and any(path["alive"] and path["transport"] == "tcp" for path in state["paths"].values())


@contextmanager
def blocked_link(world):
    """A hub's own site lets no UDP of links through, and all else."""
    rule = "table inet blocked { chain input { type filter hook input priority -50; udp dport 20000-20255 drop; }; }"
    world.run(HUB, f"nft '{rule}'")
    try:
        world.until(lambda: world.hub_state(HUB)["sessions"], 30, "links are up")
        yield
    finally:
        world.run(HUB, "nft delete table inet blocked")


@contextmanager
def done_and_undone(world, machine, do, undo):
    world.run(machine, do)
    try:
        yield
    finally:
        world.run(machine, undo)


def wrong_route(world):
    address = world.hosts["db-2"]["ipv4"]
    gateway = "$(ip -4 route show default | cut -d' ' -f3)"
    return done_and_undone(
        world, HOST, f"ip route add {address} via {gateway} dev eth0 onlink", f"ip route del {address} dev eth0"
    )


def full_disk(world):
    place = "/var/log"
    fill = f"mount -t tmpfs -o size=64k full {place} && ! head -c 1M /dev/zero >{place}/full 2>/dev/null"
    return done_and_undone(world, HOST, fill, f"umount -l {place}")


def local_network(world):
    network = ".".join(world.hosts[HOST]["ipv4"].split(".")[:2])
    make = f"ip link add lan0 type veth peer name lan1; ip address add {network}.77.1/24 dev lan0; ip link set lan0 up"
    return done_and_undone(world, HOST, make, "ip link del lan0")


def silent_resolver(world):
    # Of a network that is nowhere (RFC 5737); a bind mount, as another program may hold the file.
    make = "echo nameserver 192.0.2.53 >/run/resolv; mount --bind /run/resolv /etc/resolv.conf"
    return done_and_undone(world, HOST, make, "umount -l /etc/resolv.conf")


@contextmanager
def ended_list(world):
    """A hub goes by a revocation list that the authority has signed, and that has ended."""
    state = world.tree.state()["deployment"]["resources"]
    outputs = {one["urn"].rpartition("::")[2]: one["outputs"] for one in state if "Authority$" in one["urn"]}
    generation = world.tree.config().get("vcubev:keys", {}).get("authority", [1])[0]  # another test may have rotated it
    key, authority = (outputs[numbered(f"{world.tree.stack}-ca-{part}", generation)] for part in ("key", "cert"))
    key = load_pem_private_key(_plain(key["privateKeyPem"]).encode(), None)
    authority = x509.load_pem_x509_certificate(_plain(authority["certPem"]).encode())
    now = datetime.now(UTC)
    builder = x509.CertificateRevocationListBuilder(authority.subject, now - timedelta(2), now - timedelta(1))
    ended = builder.sign(key, SHA256()).public_bytes(Encoding.PEM).decode()
    place = "/etc/vcubev/crl/crl.pem"
    right = world.run(HUB, f"cat {place}")
    refuse = "/usr/local/lib/vcubev/refuse.py 2>/dev/null"
    with done_and_undone(
        world, HUB, f"echo '{ended}' >{place}; {refuse}; true", f"echo '{right.strip()}' >{place}; {refuse}"
    ):
        yield


def _plain(value):
    return json.loads(value["plaintext"]) if isinstance(value, dict) else value


@contextmanager
def other_version(world):
    """One hub's BIRD is another package than the others'."""
    before = version_of(world, HUB, "bird2")
    right = repack(world, HUB, "bird2", before)
    world.run(HUB, f"cp {right} /root/right.deb")
    other = repack(world, HUB, "bird2", "2.0.99-1")
    install = "dpkg --install --force-confold --force-downgrade --no-triggers"
    with done_and_undone(world, HUB, f"{install} {other} >/dev/null", f"{install} /root/right.deb >/dev/null 2>&1"):
        yield


def other_program(world):
    file = "/usr/local/lib/vcubev/plan.py"
    return done_and_undone(world, HUB, f"cp {file} /root/plan; echo '#' >>{file}", f"cp /root/plan {file}")


@contextmanager
def powered_off(world):
    world.lab("power-off", HOST)
    try:
        yield
    finally:
        world.lab("start", HOST)


def broken_off(world):
    """An installation began and did not end."""
    mark = "/var/lib/vcubev/bundles/host.unfinished"
    return done_and_undone(world, HOST, f"touch {mark}", f"rm {mark}")


TROUBLES = {
    "clock": (wrong_clock, {("clock", HOST)}),
    "mtu": (lambda world: fault(world, "mtu", HOST, "1280"), {("mtu", HOST)}),
    "mtu of a hub, silent": (lambda world: fault(world, "mtu", HUB, "1400", "--silent"), {("mtu", HUB)}),
    "blocked udp": (blocked_udp, {("udp", HOST)}),
    "blocked udp between hubs": (blocked_link, {("udp", "oregon/a"), ("udp", "oregon/b"), ("udp", "paris/a")}),
    "route": (wrong_route, {("route", HOST)}),
    "full disk": (full_disk, {("disk", HOST)}),
    "ended revocation list": (ended_list, {("certificate", HUB)}),
    "overlapping network": (local_network, {("overlap", HOST)}),
    "dns": (silent_resolver, {("dns", HOST)}),
    "another package": (other_version, {("version", HUB)}),
    "another program": (other_program, {("version", HUB)}),
    "half-run": (broken_off, {("half-run", HOST)}),
    "off": (powered_off, {("unreachable", HOST)}),
}


@pytest.mark.parametrize("name", TROUBLES)
def test_each_trouble_is_found_and_nothing_else_is(world, name):
    make, expected = TROUBLES[name]
    with make(world):
        code, found, told = doctor(world)
    assert (code, found) == (3, expected), told
