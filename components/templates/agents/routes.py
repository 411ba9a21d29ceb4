"""Writes the routes of this hub's hosts for those who have no right to: OpenVPN, which strangers speak to, has none.

OpenVPN's hooks keep a file for each session and say so in a FIFO that only its user may open: "come IPV4 DEV" or
"go IPV4 DEV". They do not wait: OpenVPN carries nothing meanwhile. A host whose route cannot be written gets no answer
to its probes, and goes to another hub. What is said is checked against the address plan and against those files:
routes of hosts by the hosts' devices can be had here, and nothing else.

One at a time, by netlink and with no other program.
"""

import json
import os
import pathlib
import re
import socket
import subprocess
import sys
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import doors
from bird import HIGHEST_NUMBER, Bird, numbers
from kernel import PROTOCOL, Table
from notify import ready
from plan import ipv6_of, place

CONFIG = pathlib.Path("/etc/vcubev/hub.json")
FIFO = pathlib.Path("/run/vcubev-routes/sessions")
SAID = re.compile(r"(come|go) (\S+) (hosts-[a-z0-9]+)")
LONGEST_LINE = 100


class Routes:
    """What may be said, and what it does."""

    def __init__(self, table: Table, bird: Bird, overlay4: IPv4Network, overlay6: IPv6Network, mtu_bytes: int) -> None:
        self._table, self._bird, self._overlay4, self._overlay6 = table, bird, overlay4, overlay6
        self._mtu_bytes = mtu_bytes  # what every way carries; a host's claim may say more

    def hear(self, line: bytes) -> None:
        """Do what a line of a hook asks for; what is none is told, and no more."""
        try:
            self._do(line[: LONGEST_LINE + 1].decode("ascii"))
        except (ValueError, OSError) as problem:
            print(f"not done: {line[:LONGEST_LINE]!r}: {problem}", flush=True)

    def _do(self, line: str) -> None:
        said = SAID.fullmatch(line)
        if said is None:
            raise ValueError("it is none of the two requests")
        verb, text, device = said.groups()
        if device not in doors.devices():
            raise ValueError("it is no device of hosts")
        addresses = self._both(text)
        if verb == "come":
            # It may have gone again since, and that line comes next.
            self._put(addresses, device)
        elif not _is_here(text, device):
            for address in addresses:
                self._table.remove(address, socket.if_nametoindex(device))
            for other in (other for other in doors.devices() if _is_here(text, other)):
                self._put(addresses, other)

    def _put(self, addresses: tuple[IPv4Address, IPv6Address], device: str) -> None:
        if not _is_here(str(addresses[0]), device):
            return
        number, interface = self._number(addresses[0]), socket.if_nametoindex(device)
        try:
            for address in addresses:
                self._table.put(address, interface, number, self._mtu_bytes)
        except OSError:
            # Half a host is none.
            for address in addresses:
                self._table.remove(address, interface)
            raise

    def _number(self, address: IPv4Address) -> int:
        """Return the mobility number of a host that comes (RFC 7432 section 15: the higher is the newer place).

        It is a spare: one below the place that has its traffic, until the host claims it for this tunnel (vcubev-hub).
        Here already, it keeps its number.
        """
        mine, newest = numbers(self._bird.ask(f"show route {address}/32 all") or "")
        if mine > 0:
            return min(mine, HIGHEST_NUMBER)
        return min(newest - 1, HIGHEST_NUMBER) if newest > 1 else 2 - newest

    def _both(self, text: str) -> tuple[IPv4Address, IPv6Address]:
        """Return a host's two addresses, from the first.

        Raises:
            ValueError: It is no host's.
        """
        try:
            address = IPv4Address(text)
        except AddressValueError:
            raise ValueError("it is no address") from None
        if address not in self._overlay4:
            raise ValueError("it is not in the overlay")
        role, member = place(address, self._overlay4)
        if role == 0 or not 1 <= member <= 254:
            raise ValueError("it is no host's address")
        return address, ipv6_of(address, self._overlay4, self._overlay6)

    def catch_up(self, shown: str) -> None:
        """Put right what nobody was here to hear of.

        Args:
            shown: The IPv4 routes of the table, as `ip -j` shows them.
        """
        standing = {(route["dst"], route["dev"]) for route in json.loads(shown)}
        for host, device in sorted(standing):
            if device in doors.devices() and not _is_here(host, device):
                print(f"{host} went by {device}", flush=True)
                self.hear(f"go {host} {device}".encode())
        with_route = {host for host, device in standing if _is_here(host, device)}
        for device in doors.devices():
            for session in sorted(doors.sessions(device).glob("*.*.*.*[0-9]")):
                if session.name not in with_route:
                    print(f"{session.name} came by {device}", flush=True)
                    self.hear(f"come {session.name} {device}".encode())


def _is_here(host: str, device: str) -> bool:
    """Tell whether a host has a session by a device."""
    return (doors.sessions(device) / host).exists()


def listen() -> int:
    """Make the FIFO, for the group, which is OpenVPN's, in a directory that is theirs alone; return it opened."""
    FIFO.unlink(missing_ok=True)
    os.mkfifo(FIFO)
    FIFO.chmod(0o660)
    # Both ways: with no hook at the other end it has no end.
    return os.open(FIFO, os.O_RDWR)


def serve(fifo: int, routes: Routes) -> None:
    rest = b""
    while True:
        *lines, rest = (rest + os.read(fifo, 65536)).split(b"\n")
        rest = rest[: LONGEST_LINE + 1]
        for line in lines:
            routes.hear(line)


def main() -> None:
    config = json.loads(CONFIG.read_text())
    routes = Routes(
        Table(config["hosts_table"]),
        Bird(),
        IPv4Network(config["overlay_ipv4"]),
        IPv6Network(config["overlay_ipv6"]),
        config["mtu_bytes"],
    )
    show = ["ip", "-4", "-j", "route", "show", "table", str(config["hosts_table"]), "proto", str(PROTOCOL)]
    # Open before this looks: a host that comes or goes meanwhile is not overlooked.
    fifo = listen()
    shown = subprocess.run(show, capture_output=True, text=True)
    # A table that has never held a route is an error to `ip`, which then prints half a list.
    routes.catch_up(shown.stdout if shown.returncode == 0 else "[]")
    ready()
    serve(fifo, routes)


if __name__ == "__main__":
    main()
