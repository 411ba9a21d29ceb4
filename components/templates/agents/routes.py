"""Writes the routes of this hub's hosts for those who have no right to: OpenVPN, which strangers speak to, has none.

OpenVPN's hooks ask at a socket that only its user may open: "add IPV4 DEV NUMBER" or "del IPV4 DEV". What they ask is
checked against the address plan: routes of hosts by the hosts' devices can be had here, and nothing else.

One request at a time, by netlink and with no other program: hosts wait for it while they connect.
"""

import contextlib
import errno
import json
import os
import pathlib
import re
import socket
import struct
import subprocess
import sys
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import doors
from bird import HIGHEST_NUMBER
from notify import ready
from plan import ipv6_of, place

CONFIG = pathlib.Path("/etc/vcubev/hub.json")
SOCKET = pathlib.Path("/run/vcubev-routes/socket")
REQUEST = re.compile(r"add (\S+) (hosts-[a-z0-9]+) ([1-9][0-9]{0,4})|del (\S+) (hosts-[a-z0-9]+)")
LONGEST_REQUEST = 100
WAITING = 64  # requests that wait for their turn: each of OpenVPN's daemons has one at a time
PATIENCE_SECONDS = 0.2  # whoever connects and says nothing holds up the others for so long
MOST_ROUTES = 16  # that one host can have by mistake: a request ends
PROTOCOL = 99  # marks these routes in the table

# rtnetlink(7), linux/rtnetlink.h
NEW_ROUTE, DEL_ROUTE = 24, 25
REQUESTED, ACKNOWLEDGE, REPLACE, CREATE = 0x1, 0x4, 0x100, 0x400
DESTINATION, INTERFACE, PRIORITY, TABLE = 1, 4, 6, 15
UNICAST, SCOPE_ANY, SCOPE_UNIVERSE, SCOPE_LINK = 1, 255, 0, 253
HEADER, ROUTE, ATTRIBUTE, RESULT = "=IHHII", "=BBBBBBBBI", "=HH", "=i"


class Table:
    """One of the kernel's routing tables; a host has a route in it for each family."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._turn = 0
        self._kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._kernel.bind((0, 0))

    def put(self, address: IPv4Address | IPv6Address, interface: int, metric: int) -> None:
        """Make one route the only one to an address.

        Raises:
            OSError: The kernel refuses.
        """
        self.remove(address)
        scope = SCOPE_LINK if address.version == 4 else SCOPE_UNIVERSE
        attributes = {INTERFACE: interface, PRIORITY: metric}
        if wrong := self._ask(NEW_ROUTE, CREATE | REPLACE, address, scope, UNICAST, attributes):
            raise OSError(wrong, os.strerror(wrong))

    def remove(self, address: IPv4Address | IPv6Address, interface: int | None = None) -> None:
        """Take away all routes to an address, or those by one interface; no route is no error."""
        by = {} if interface is None else {INTERFACE: interface}
        for _ in range(MOST_ROUTES):  # one at a time, whatever its metric
            if wrong := self._ask(DEL_ROUTE, 0, address, SCOPE_ANY, 0, by):
                if wrong in (errno.ESRCH, errno.ENOENT):
                    return
                raise OSError(wrong, os.strerror(wrong))

    def _ask(self, kind: int, flags: int, address, scope: int, type_: int, attributes: dict[int, int]) -> int:
        """Send one request; return the kernel's error number, 0 if there is none."""
        self._turn += 1
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        route = struct.pack(ROUTE, family, address.max_prefixlen, 0, 0, 0, PROTOCOL, scope, type_, 0)
        values = {DESTINATION: address.packed} | {
            number: struct.pack("=I", value) for number, value in {**attributes, TABLE: self._number}.items()
        }
        for number, value in values.items():
            route += struct.pack(ATTRIBUTE, struct.calcsize(ATTRIBUTE) + len(value), number) + value
        size = struct.calcsize(HEADER)
        header = struct.pack(HEADER, size + len(route), kind, REQUESTED | ACKNOWLEDGE | flags, self._turn, 0)
        self._kernel.sendall(header + route)
        while True:
            answer = self._kernel.recv(65536)
            if struct.unpack_from(HEADER, answer)[3] == self._turn:
                return -struct.unpack_from(RESULT, answer, size)[0]


class Routes:
    """What may be asked, and what it does."""

    def __init__(self, table: Table, overlay4: IPv4Network, overlay6: IPv6Network) -> None:
        self._table, self._overlay4, self._overlay6 = table, overlay4, overlay6

    def answer(self, request: bytes) -> bytes:
        """Do what a hook asks; return "ok", or why not."""
        try:
            self._do(request.decode("ascii"))
        except (ValueError, OSError) as problem:
            print(f"refused {request!r}: {problem}", flush=True)
            return f"no: {problem}".encode()[:LONGEST_REQUEST]
        return b"ok"

    def _do(self, request: str) -> None:
        asked = REQUEST.fullmatch(request)
        if asked is None:
            raise ValueError("it is none of the two requests")
        added, device, number, removed, left = asked.groups()
        if (device or left) not in doors.devices():
            raise ValueError("it is no device of hosts")
        addresses = self._both(added or removed)
        if removed:
            for address in addresses:
                self._table.remove(address, socket.if_nametoindex(left))
            return
        if int(number) > HIGHEST_NUMBER:
            raise ValueError(f"the highest number is {HIGHEST_NUMBER}")
        interface = socket.if_nametoindex(device)
        try:
            for address in addresses:
                self._table.put(address, interface, int(number))
        except OSError:
            # Half a host is none: it will be refused.
            for address in addresses:
                self._table.remove(address, interface)
            raise

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

    def withdraw(self, shown: str) -> None:
        """Take away the routes of hosts that went while nobody was here to do it.

        Args:
            shown: The IPv4 routes of the table, as `ip -j` shows them.
        """
        for route in json.loads(shown):
            # The hooks keep a file for each host that is connected.
            if route["dev"] in doors.devices() and not (doors.sessions(route["dev"]) / route["dst"]).exists():
                print(f"{route['dst']} went by {route['dev']}", flush=True)
                self.answer(f"del {route['dst']} {route['dev']}".encode())


def serve(listener: socket.socket, routes: Routes) -> None:
    while True:
        hook, _ = listener.accept()
        with hook, contextlib.suppress(OSError):  # it may have gone
            hook.settimeout(PATIENCE_SECONDS)
            hook.send(routes.answer(hook.recv(LONGEST_REQUEST)))


def main() -> None:
    config = json.loads(CONFIG.read_text())
    routes = Routes(
        Table(config["hosts_table"]), IPv4Network(config["overlay_ipv4"]), IPv6Network(config["overlay_ipv6"])
    )
    show = ["ip", "-4", "-j", "route", "show", "table", str(config["hosts_table"]), "proto", str(PROTOCOL)]
    SOCKET.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(SOCKET))
        # For the group, which is OpenVPN's, in a directory that is theirs alone.
        SOCKET.chmod(0o660)
        listener.listen(WAITING)
        # With the door open: a host that goes while this looks is not overlooked, its hook waits.
        shown = subprocess.run(show, capture_output=True, text=True)
        # A table that has never held a route is an error to `ip`, which then prints half a list.
        routes.withdraw(shown.stdout if shown.returncode == 0 else "[]")
        ready()
        serve(listener, routes)


if __name__ == "__main__":
    main()
