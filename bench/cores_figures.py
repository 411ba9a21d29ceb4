"""Measures what a hub carries with one OpenVPN process for hosts and with several."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated

import typer

from bench import documents
from bench.dataplane_figures import ROOT, console, show, spread
from bench.loads import GIGABYTE, PAUSE_SECONDS, PORT, TICKS_A_SECOND
from components.model.render import CONSTANTS
from components.model.topology import MOST_PROCESSES
from tests.agents.loading import load
from tests.daemons.entering import Mesh, is_in, until
from tests.rendering import TOPOLOGY

DOCUMENT = ROOT / "docs" / "dataplane.md"
FIRST_HOST = IPv4Address("10.100.1.1")
# As a host's own tunnels have it (openvpn/path.conf.j2).
AS_ON_HOSTS = (
    f"--fast-io --tun-mtu {CONSTANTS['MTU_BYTES']} --mtu-disc no --txqueuelen {CONSTANTS['TX_QUEUE_PACKETS']} "
    f"--sndbuf {CONSTANTS['SOCKET_BUFFER_BYTES']} --rcvbuf {CONSTANTS['SOCKET_BUFFER_BYTES']}"
).split()


@dataclass
class Found:
    """All that was measured of one hub, a value for each round."""

    megabits_a_second: list[float] = field(default_factory=list)  # of all streams together
    seconds_a_gigabyte: list[float] = field(default_factory=list)  # of the hub's daemons
    busiest: list[float] = field(default_factory=list)  # share of a core that the busiest of them had


@contextmanager
def hub(processes: int, hosts: int) -> Iterator[Mesh]:
    """Make a hub and its hosts, each where its own agent would have it."""
    place = Path(tempfile.mkdtemp(prefix="cores"))  # a socket's path must be short
    names = {f"host-{n}": str(FIRST_HOST + n) for n in range(hosts)}
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, place)
        view = replace(TOPOLOGY.hubs[0], processes=processes)
        mesh = Mesh(place, stack, view, names)
        mesh.forward()
        logs = [mesh.serve(door.name) for door in view.doors if door.transport == "udp"]
        until(lambda: all(map(is_in, logs)), 30)
        told = load("tunnels").Hub(
            view.id, view.site, view.name, str(view.address.ipv4), "192.0.2.1", view.port, view.tcp_port,
            view.udp_ports[1:],
        )  # fmt: skip
        by_port = {door.port: door.name for door in view.doors}
        for name, address in names.items():
            door = by_port[told.door("udp", int(IPv4Address(address)))[1]]
            mesh.place_host(name)
            log = mesh.connect(name, door, more=AS_ON_HOSTS)
            until(lambda log=log: is_in(log), 30)
            mesh.use(name, door)
        yield mesh


def carry(mesh: Mesh, seconds: int, found: Found) -> None:
    """Send a stream from each even host to the one after it, all at once."""
    names = list(mesh.names)
    pairs = list(zip(names[::2], names[1::2], strict=True))
    before, began = _spent(mesh), time.monotonic()
    servers = [_iperf(mesh, server, "-s", "-1", "-B", mesh.names[server]) for _, server in pairs]
    try:
        time.sleep(PAUSE_SECONDS)
        clients = [_iperf(mesh, c, "-c", mesh.names[s], "-J", "-t", str(seconds)) for c, s in pairs]
        told = [json.loads(client.communicate(timeout=seconds + 60)[0])["end"]["sum_received"] for client in clients]
    finally:
        for server in servers:
            server.kill()
            server.communicate()
    spent = [after - earlier for after, earlier in zip(_spent(mesh), before, strict=True)]
    found.megabits_a_second.append(sum(one["bits_per_second"] for one in told) / 1e6)
    found.seconds_a_gigabyte.append(sum(spent) / (sum(one["bytes"] for one in told) / GIGABYTE))
    found.busiest.append(max(spent) / (time.monotonic() - began - PAUSE_SECONDS))


def _iperf(mesh: Mesh, host: str, *options: str) -> subprocess.Popen[str]:
    command = ["setpriv", "--pdeathsig", "KILL", *mesh.hosts[host], "iperf3", "-p", str(PORT), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def _spent(mesh: Mesh) -> list[float]:
    """Return the CPU seconds of each of the hub's daemons that hosts came in by."""
    files = [Path(f"/proc/{mesh.daemons[door].pid}/stat") for door in sorted(mesh.doors) if door in mesh.daemons]
    stats = [file.read_text().rpartition(")")[2].split() for file in files]
    return [(int(stat[11]) + int(stat[12])) / TICKS_A_SECOND for stat in stats]


HEADS = ("processes", "all streams Mbit/s", "times one process", "hub's CPU s/GB", "busiest process, share of a core")


def rows(found: dict[int, Found]) -> list[list[str]]:
    """Return a row for each hub; ratios are those of each round by itself."""
    alone = found[min(found)].megabits_a_second
    return [
        [
            str(processes),
            spread(own.megabits_a_second),
            spread([many / one for many, one in zip(own.megabits_a_second, alone, strict=True)], 2),
            spread(own.seconds_a_gigabyte, 1),
            spread(own.busiest, 2),
        ]
        for processes, own in found.items()
    ]


def setting(hosts: int) -> str:
    return (
        f"{documents.computer()}; {hosts} hosts, {hosts // 2} streams "
        "at once, all hosts and the hub on this one computer: with fewer cores than daemons, hosts' own take what a "
        "hub's second would have."
    )


def measure(hubs: dict[int, Mesh], rounds: int, seconds: int) -> dict[int, Found]:
    """Take each hub in turn, round by round, another first each time."""
    found = {processes: Found() for processes in hubs}
    order = list(hubs)
    for number in range(rounds):
        first = number % len(order)
        for processes in (*order[first:], *order[:first]):
            console.print(f"round {number + 1} of {rounds}: {processes} process{'es' if processes > 1 else ''}")
            carry(hubs[processes], seconds, found[processes])
    return found


def main(
    rounds: Annotated[int, typer.Option(min=1, help="How often each hub is measured.")] = 10,
    seconds: Annotated[int, typer.Option(min=1, help="For each measurement.")] = 10,
    hosts: Annotated[int, typer.Option(min=2, max=64, help="On each hub; an even number.")] = 4,
    processes: Annotated[
        int, typer.Option("--processes", min=2, max=MOST_PROCESSES, help="Of the hub beside that with one.")
    ] = 2,
    into_docs: Annotated[bool, typer.Option("--write", help="Put the table into docs/dataplane.md.")] = False,
    as_data: Annotated[bool, typer.Option("--json", help="Print the figures as JSON as well.")] = False,
) -> None:
    """Send TCP streams between the hosts of a hub with one process, and of one with several, in turns.

    Both stand all the time, in network namespaces of their own; hub's files are those that the program makes. Needs no
    root beyond what the packages do.
    """
    if hosts % 2:
        raise typer.BadParameter("hosts go in pairs")
    with ExitStack() as stack:
        hubs = {count: stack.enter_context(hub(count, hosts)) for count in (1, processes)}
        found = measure(hubs, rounds, seconds)
    show("One hub, hosts to hosts: median (lowest-highest)", HEADS, rows(found))
    if as_data:
        print(json.dumps({count: asdict(own) for count, own in found.items()}))
    if into_docs:
        command = f"bench/cores --rounds {rounds} --seconds {seconds} --hosts {hosts} --processes {processes} --write"
        text = "\n\n".join([setting(hosts), documents.table(HEADS, rows(found))])
        documents.write(DOCUMENT, "bench/cores", "The data plane", command, text)


if __name__ == "__main__":
    typer.run(main)
