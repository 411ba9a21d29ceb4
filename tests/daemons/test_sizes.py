"""How large packets may be on a way, asked on a real one between two network namespaces."""

import subprocess
import sys

import pytest

from tests.agents.loading import AGENTS

ASK = f"""
import asyncio, sys
sys.path.insert(0, {str(AGENTS)!r})
import sizes
print(asyncio.run(sizes.largest("192.0.2.2", (8800, 1400))))
"""
# `wire`: what both ends take; a router between takes as much as its way on.
BETWEEN = """
set -eu
mount -t tmpfs tmpfs /run
ip netns add router; ip netns add far
ip link set lo up
ip link add name near type veth peer name near netns router
ip -n router link add name far type veth peer name far netns far
ip link set near mtu 9001 up; ip -n router link set near mtu 9001 up
ip -n router link set far mtu "$1" up; ip -n far link set far mtu "$1" up
ip address add 192.0.2.1/32 dev near; ip route add 192.0.2.254 dev near; ip route add 192.0.2.2 via 192.0.2.254
ip -n router address add 192.0.2.254/32 dev near
ip -n router route add 192.0.2.1 dev near; ip -n router route add 192.0.2.2 dev far
ip netns exec router sysctl -q -w net.ipv4.ip_forward=1
if [ "$2" = there ]; then
  ip -n far address add 192.0.2.2/32 dev far
  ip -n far route add default via 192.0.2.254 dev far onlink
fi
sysctl -q -w "net.ipv4.ping_group_range=0 0"
exec "$3" -c "$4"
"""


@pytest.mark.parametrize(
    "wire, far, size",
    [(9001, "there", 8800), (8852, "there", 8800), (8851, "there", 1400), (1500, "there", 1400), (1400, "there", None)],
)
def test_the_largest_size_that_comes_through_unsplit_is_found(wire, far, size):
    assert asked(wire, far) == str(size)


def test_where_nobody_answers_nothing_is_known():
    assert asked(9001, "silent") == "None"


def asked(wire, far):
    apart = ["unshare", "--user", "--map-root-user", "--net", "--mount"]
    command = [*apart, "sh", "-c", BETWEEN, "sh", str(wire), far, sys.executable, ASK]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
