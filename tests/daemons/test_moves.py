"""A host that claims its traffic: its routes on a real kernel get another number, or stay as they are."""

import json
import subprocess
import sys
import time

import pytest

from tests.daemons.test_routes import both, hub, machine

assert hub and machine  # fixtures, used by name
MOVES = """
import socket, sys
from ipaddress import ip_address
sys.path.insert(0, sys.argv[1])
from kernel import Table
table = Table(100)
for text in sys.argv[2].split(","):
    device, old, new = sys.argv[3:6]
    print(table.move(ip_address(text), socket.if_nametoindex(device), int(old), int(new), 8800))
"""


def test_a_claim_gives_a_route_another_number_and_it_is_there_all_the_time(hub):
    hub.come("10.100.1.1", "hosts-udp")
    with subprocess.Popen(hub._enter("ip", "monitor", "route"), stdout=subprocess.PIPE, text=True) as monitor:
        try:
            time.sleep(0.3)
            hosts = ",".join(both(None))
            moved = hub.inside(sys.executable, "-I", "-c", MOVES, hub.directory, hosts, "hosts-udp", 2, 8)
            assert moved == "True\nTrue\n" and hub.routes() == both(("hosts-udp", 8))
            time.sleep(0.1)
        finally:
            monitor.terminate()
        seen = ["Deleted" in line for line in monitor.stdout]
    assert seen == [False, True] * 2, "each was away for a moment"


@pytest.mark.parametrize("device, number", [("hosts-udp2", 2), ("hosts-udp", 5)])
def test_a_route_that_is_another_by_now_keeps_its_number(hub, device, number):
    hub.come("10.100.1.1", "hosts-udp")
    hosts = ",".join(both(None))
    assert hub.inside(sys.executable, "-I", "-c", MOVES, hub.directory, hosts, device, number, 8) == "False\n" * 2
    assert hub.routes() == both(("hosts-udp", 2))


RESIZES = """
import socket, sys
from ipaddress import ip_address
sys.path.insert(0, sys.argv[1])
from kernel import Table
for text in sys.argv[2].split(","):
    Table(100).resize(ip_address(text), socket.if_nametoindex("hosts-udp"), int(sys.argv[3]), 8800)
"""


def sizes(hub):
    """How large packets may be by each route, both families."""
    shown = [hub.inside("ip", family, "-j", "-d", "route", "show", "table", "100") for family in ("-4", "-6")]
    return {route["dst"]: route["metrics"][0]["mtu"] for text in shown for route in json.loads(text)}


def test_packets_to_a_host_become_larger_with_its_claim_and_its_route_is_there_all_the_time(hub):
    hub.come("10.100.1.1", "hosts-udp")
    assert sizes(hub) == both(1400), "what every underlay carries"
    with subprocess.Popen(hub._enter("ip", "monitor", "route"), stdout=subprocess.PIPE, text=True) as monitor:
        try:
            time.sleep(0.3)
            hub.inside(sys.executable, "-I", "-c", RESIZES, hub.directory, ",".join(both(None)), 2)
            time.sleep(0.1)
        finally:
            monitor.terminate()
        assert not any("Deleted" in line for line in monitor.stdout)
    assert hub.routes() == both(("hosts-udp", 2)) and sizes(hub) == both(8800)
    hub.inside(sys.executable, "-I", "-c", MOVES, hub.directory, ",".join(both(None)), "hosts-udp", 2, 6)
    assert hub.routes() == both(("hosts-udp", 6)) and sizes(hub) == both(8800)


def test_a_route_that_has_gone_is_not_made_by_a_change_of_size(hub):
    hub.come("10.100.1.1", "hosts-udp")
    with pytest.raises(subprocess.CalledProcessError):
        hub.inside(sys.executable, "-I", "-c", RESIZES, hub.directory, ",".join(both(None)), 4)
    assert hub.routes() == both(("hosts-udp", 2))
