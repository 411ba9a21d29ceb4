"""A hub's OpenVPN processes for hosts: their ports, files and units, and that one process is what it always was."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.model import render
from components.model.joining import join_file
from components.model.topology import HOSTS_PORT, MOST_PROCESSES, OWN_UDP_PORTS
from components.site import _hosts_ports
from tests.agents.loading import load
from tests.rendering import TOPOLOGY

tunnels = load("tunnels")
HUB, OVERLAY = TOPOLOGY.hubs[0], TOPOLOGY.overlay
ONE_FOR_EACH_CORE = replace(HUB, processes=4)


def files(hub):
    return render.hub_files(hub, OVERLAY, "203.0.113.1")


def told(hub):
    return json.loads(files(hub)[f"/etc/vcubev/hubs/{hub.id}.json"].content)


@given(st.integers(1, 65_000).filter(lambda port: port not in OWN_UDP_PORTS), st.integers(1, MOST_PROCESSES))
def test_no_two_processes_share_a_port_and_none_has_one_of_the_hubs_own(port, processes):
    ports = replace(HUB, port=port, processes=processes).udp_ports
    assert ports[0] == port and len(set(ports)) == processes
    assert not set(ports) & set(OWN_UDP_PORTS), "OpenVPN would not start"


def test_a_process_more_moves_no_other():
    for processes in range(1, MOST_PROCESSES):
        fewer, more = (replace(HUB, processes=n).doors for n in (processes, processes + 1))
        assert set(fewer) < set(more), "hosts at the others would have to move"


def test_where_one_process_is_enough_hosts_are_told_what_they_always_were():
    assert told(HUB).keys() == {"id", "site", "name", "ipv4", "endpoint", "port", "tcp_port"}
    assert told(ONE_FOR_EACH_CORE)["more_ports"] == [1197, 1198, 1199], "1195 and 1196 are the hub's own"


def test_each_process_has_a_device_a_unit_and_a_directory_of_its_own():
    found, units = files(ONE_FOR_EACH_CORE), render.hub_units(ONE_FOR_EACH_CORE)
    for door in ONE_FOR_EACH_CORE.doors:
        text = found[f"/etc/vcubev/hosts-{door.name}.conf"].content
        assert f"\ndev hosts-{door.name}\n" in text and f"\nport {door.port}\n" in text
        assert f"management /run/vcubev-hosts-{door.name}/management.sock unix" in text
        assert f"vcubev-hosts@{door.name}.service" in units
    assert units[-1] == "vcubev-leave.service", "it is stopped first"
    assert [door.name for door in ONE_FOR_EACH_CORE.doors] == ["udp", "udp2", "udp3", "udp4", "tcp"]


def test_only_a_low_port_has_the_right_to_one():
    low = [path for path in files(replace(HUB, port=1022, processes=3)) if path.endswith("low-port.conf")]
    assert [path.split("@")[1].split(".")[0] for path in low] == ["udp", "udp2", "tcp"]


def test_packet_filter_and_firewall_open_every_process_and_what_was_open_stays_as_it_was():
    assert (
        "udp dport { 1194, 1197, 1198, 1199, 20000-20255 } accept"
        in files(ONE_FOR_EACH_CORE)["/etc/nftables.conf"].content
    )
    assert _hosts_ports([HUB]) == [str(HOSTS_PORT)]
    assert _hosts_ports([HUB, replace(HUB, id=9, port=1197)]) == ["1194", "1197"], (
        "two firewalls' rules are what they were"
    )
    assert _hosts_ports([ONE_FOR_EACH_CORE, replace(HUB, id=9, port=1198)]) == ["1194", "1198", "1197", "1199"]
    assert _hosts_ports([replace(HUB, processes=8)]) == ["1194", "1197-1203"], "Linode takes 15 in one rule"


@pytest.mark.parametrize("processes", range(1, MOST_PROCESSES + 1))
def test_a_laptop_comes_in_by_the_process_that_a_hosts_agent_would_choose(processes):
    hub, host = replace(HUB, processes=processes), TOPOLOGY.hosts[0]
    written = join_file(TOPOLOGY, host, {}, "CA", "CERTIFICATE", "KEY", "CHANNEL")
    assert "<connection>" not in written
    topology = replace(TOPOLOGY, sites=(replace(TOPOLOGY.sites[0], hubs=(hub,)), *TOPOLOGY.sites[1:]))
    written = join_file(topology, host, {hub.key: "203.0.113.1"}, "CA", "CERTIFICATE", "KEY", "CHANNEL")
    ways = [line.split()[1:] for line in written.splitlines() if line.startswith("remote ")]
    own = tunnels.Hub(**told(hub)).door("udp", int(host.address.ipv4))
    assert ways[0] == [own[0], str(own[1]), "udp"]
    assert len(ways) == (2 if processes == 1 else 3) and ways[-1][2] == "tcp"
