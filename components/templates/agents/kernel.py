"""The kernel's routes to the hosts of this hub, by netlink: to start a program for each takes longer than all else."""

import errno
import os
import socket
import struct
from ipaddress import IPv4Address, IPv6Address

MOST_ROUTES = 16  # that one host can have by mistake: a request ends
PROTOCOL = 99  # marks these routes in the table

# rtnetlink(7), linux/rtnetlink.h
NEW_ROUTE, DEL_ROUTE = 24, 25
REQUESTED, ACKNOWLEDGE, REPLACE, EXCLUSIVE, CREATE = 0x1, 0x4, 0x100, 0x200, 0x400
DESTINATION, INTERFACE, PRIORITY, METRICS, TABLE = 1, 4, 6, 8, 15
MTU = 2  # one of the metrics
UNICAST, SCOPE_ANY, SCOPE_UNIVERSE, SCOPE_LINK = 1, 255, 0, 253
HEADER, ROUTE, ATTRIBUTE, RESULT = "=IHHII", "=BBBBBBBBI", "=HH", "=i"


class Table:
    """One of the kernel's routing tables; a host has a route in it for each family."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._turn = 0
        self._kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._kernel.bind((0, 0))

    def put(self, address: IPv4Address | IPv6Address, interface: int, metric: int, mtu_bytes: int) -> None:
        """Make one route the only one to an address.

        Args:
            mtu_bytes: How large packets may be.

        Raises:
            OSError: The kernel refuses.
        """
        self.remove(address)
        self._make(CREATE | REPLACE, address, {INTERFACE: interface, PRIORITY: metric, METRICS: mtu_bytes})

    def resize(self, address: IPv4Address | IPv6Address, interface: int, metric: int, mtu_bytes: int) -> None:
        """Let the packets that take a route be larger, or smaller.

        Raises:
            OSError: The kernel refuses, or there is no such route.
        """
        self._make(REPLACE, address, {INTERFACE: interface, PRIORITY: metric, METRICS: mtu_bytes})

    def remove(self, address: IPv4Address | IPv6Address, interface: int | None = None) -> None:
        """Take away all routes to an address, or those by one interface; no route is no error."""
        by = {} if interface is None else {INTERFACE: interface}
        for _ in range(MOST_ROUTES):  # one at a time, whatever its metric
            if wrong := self._ask(DEL_ROUTE, 0, address, SCOPE_ANY, 0, by):
                if wrong in (errno.ESRCH, errno.ENOENT):
                    return
                raise OSError(wrong, os.strerror(wrong))

    def move(self, address: IPv4Address | IPv6Address, interface: int, metric: int, new: int, mtu_bytes: int) -> bool:
        """Give a route another metric; return False, with nothing done, if this one is not there (any more).

        Raises:
            OSError: The kernel refuses.
        """
        attributes = {INTERFACE: interface, PRIORITY: new}
        # The new one first: BIRD must never see none.
        self._make(CREATE | EXCLUSIVE, address, {**attributes, METRICS: mtu_bytes}, errno.EEXIST)
        if self._ask(DEL_ROUTE, 0, address, SCOPE_ANY, 0, {INTERFACE: interface, PRIORITY: metric}):
            self._ask(DEL_ROUTE, 0, address, SCOPE_ANY, 0, attributes)
            return False
        return True

    def _make(self, flags: int, address, attributes: dict[int, int], no_error: int = 0) -> None:
        scope = SCOPE_LINK if address.version == 4 else SCOPE_UNIVERSE
        wrong = self._ask(NEW_ROUTE, flags, address, scope, UNICAST, attributes)
        if wrong not in (0, no_error):
            raise OSError(wrong, os.strerror(wrong))

    def _ask(self, kind: int, flags: int, address, scope: int, type_: int, attributes: dict[int, int]) -> int:
        """Send one request; return the kernel's error number, 0 if there is none."""
        self._turn += 1
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        route = struct.pack(ROUTE, family, address.max_prefixlen, 0, 0, 0, PROTOCOL, scope, type_, 0)
        values = {DESTINATION: address.packed} | {
            number: struct.pack("=I", value) for number, value in {**attributes, TABLE: self._number}.items()
        }
        if METRICS in values:
            values[METRICS] = struct.pack(ATTRIBUTE, struct.calcsize(ATTRIBUTE) + 4, MTU) + values[METRICS]
        for number, value in values.items():
            route += struct.pack(ATTRIBUTE, struct.calcsize(ATTRIBUTE) + len(value), number) + value
        size = struct.calcsize(HEADER)
        header = struct.pack(HEADER, size + len(route), kind, REQUESTED | ACKNOWLEDGE | flags, self._turn, 0)
        self._kernel.sendall(header + route)
        while True:
            answer = self._kernel.recv(65536)
            if struct.unpack_from(HEADER, answer)[3] == self._turn:
                return -struct.unpack_from(RESULT, answer, size)[0]
