"""Which addresses of the overlay are alive: those to which the kernel has a route of their own.

Asked of the kernel by netlink, which needs no right and no other program.
"""

import contextlib
import socket
import struct
from ipaddress import IPv4Address, IPv4Network

# rtnetlink(7), linux/rtnetlink.h
GET_ROUTE, NEW_ROUTE, DONE, ERROR = 26, 24, 3, 2
REQUESTED, DUMP, INTERRUPTED = 0x1, 0x300, 0x10
ROUTES_OF_IPV4 = 0x40  # RTMGRP_IPV4_ROUTE
DESTINATION, MAIN, UNICAST, WHOLE = 1, 254, 1, 32
HEADER, ROUTE, ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=BBBBBBBBI"), struct.Struct("=HH")
BUFFER_BYTES = 1 << 20
PATIENCE_SECONDS = 2


class Live:
    """Looks at the kernel's main table when it has changed."""

    def __init__(self, overlay4: IPv4Network) -> None:
        self._first, self._last = int(overlay4.network_address), int(overlay4.broadcast_address)
        self.changes = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self.changes.setblocking(False)
        self.changes.bind((0, ROUTES_OF_IPV4))
        self._kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._kernel.settimeout(PATIENCE_SECONDS)
        self._kernel.bind((0, 0))
        self._turn = 0

    def changed(self) -> bool:
        """Tell whether there was a change since this was last asked."""
        seen = False
        with contextlib.suppress(BlockingIOError):
            while True:
                try:
                    seen = bool(self.changes.recv(BUFFER_BYTES)) or seen
                except BlockingIOError:
                    raise
                except OSError:  # so many that some were lost (ENOBUFS)
                    seen = True
        return seen

    def addresses(self) -> set[IPv4Address] | None:
        """Return them; None if they changed meanwhile.

        Raises:
            OSError: The kernel does not answer.
        """
        self._turn += 1
        request = ROUTE.pack(socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)
        self._kernel.send(HEADER.pack(HEADER.size + len(request), GET_ROUTE, REQUESTED | DUMP, self._turn, 0) + request)
        found: set[IPv4Address] = set()
        whole = True
        while True:
            answer = memoryview(self._kernel.recv(BUFFER_BYTES))
            while len(answer) >= HEADER.size:
                length, kind, flags, turn, _ = HEADER.unpack_from(answer)
                if turn == self._turn:
                    whole = whole and not flags & INTERRUPTED
                    if kind == ERROR:
                        raise OSError("the kernel refuses to tell its routes")
                    if kind == DONE:
                        return found if whole else None
                    if kind == NEW_ROUTE and (address := self._address(answer[HEADER.size : length])) is not None:
                        found.add(address)
                answer = answer[(length + 3) & ~3 :]

    def _address(self, route: memoryview) -> IPv4Address | None:
        _, prefix_len, _, _, table, _, _, kind, _ = ROUTE.unpack_from(route)
        if (prefix_len, table, kind) != (WHOLE, MAIN, UNICAST):
            return None
        attributes = route[ROUTE.size :]
        while len(attributes) >= ATTRIBUTE.size:
            length, what = ATTRIBUTE.unpack_from(attributes)
            if what == DESTINATION:
                number = int.from_bytes(attributes[ATTRIBUTE.size : length], "big")
                return IPv4Address(number) if self._first <= number <= self._last else None
            attributes = attributes[(max(length, ATTRIBUTE.size) + 3) & ~3 :]
        return None
