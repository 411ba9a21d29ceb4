"""Has the kernel forget flows of UDP by which a shared address still leads to a server that is no good any more.

A client that keeps its port would stay with that server for ever: each packet it sends renews the flow. Asked by
netlink, which needs CAP_NET_ADMIN and no other program.
"""

import errno
import os
import socket
import struct
from collections.abc import Collection, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address

# linux/netlink.h, linux/netfilter/nfnetlink.h, nfnetlink_conntrack.h
NETFILTER, CONNTRACK = 12, 1 << 8
GET, DELETE = CONNTRACK | 1, CONNTRACK | 2
REQUESTED, ACKNOWLEDGE, DUMP = 0x1, 0x4, 0x300
ERROR, DONE = 2, 3
THERE, BACK, ZONE = 1, 2, 18
NESTED, KIND = 0x8000, 0x3FFF
ENDS, PROTOCOL, PROTOCOL_NUMBER = 1, 2, 1
SOURCE = {1: IPv4Address, 3: IPv6Address}
TARGET = {2: IPv4Address, 4: IPv6Address}
HEADER, FAMILY, ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct(">BBH"), struct.Struct("=HH")
BUFFER_BYTES = 1 << 20
PATIENCE_SECONDS = 2
Address = IPv4Address | IPv6Address


def attributes(text: memoryview) -> Iterator[tuple[int, memoryview]]:
    while len(text) >= ATTRIBUTE.size:
        length, kind = ATTRIBUTE.unpack_from(text)
        length = max(length, ATTRIBUTE.size)
        yield kind & KIND, text[ATTRIBUTE.size : length]
        text = text[(length + 3) & ~3 :]


def ends(direction: memoryview) -> tuple[Address | None, Address | None, int]:
    """Return (source, target, protocol) of one direction of a flow."""
    source = target = None
    protocol = 0
    for kind, value in attributes(direction):
        for inner, packed in attributes(value):
            if kind == ENDS and inner in SOURCE:
                source = SOURCE[inner](bytes(packed))
            elif kind == ENDS and inner in TARGET:
                target = TARGET[inner](bytes(packed))
            elif kind == PROTOCOL and inner == PROTOCOL_NUMBER:
                protocol = packed[0]
    return source, target, protocol


class Flows:
    """The kernel's connection tracking."""

    def __init__(self) -> None:
        self._kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETFILTER)
        self._kernel.settimeout(PATIENCE_SECONDS)
        self._kernel.bind((0, 0))
        self._turn = 0

    def forget(self, gone: Collection[tuple[str, str]]) -> int:
        """Forget flows of UDP to these; return how many there were.

        Args:
            gone: (shared address, server) each.

        Raises:
            OSError: The kernel refuses, or does not answer.
        """
        wanted = {(ip_address(shared), ip_address(server)) for shared, server in gone}
        found = []
        for family in {socket.AF_INET if shared.version == 4 else socket.AF_INET6 for shared, _ in wanted}:
            for flow in self._all(family):
                parts = dict(attributes(flow))
                if THERE not in parts or BACK not in parts:
                    continue
                _, shared, protocol = ends(parts[THERE])
                server, _, _ = ends(parts[BACK])
                if protocol == socket.IPPROTO_UDP and (shared, server) in wanted:
                    found.append((family, {k: bytes(parts[k]) for k in (THERE, ZONE) if k in parts}))
        for family, parts in found:
            self._delete(family, parts)
        return len(found)

    def _send(self, kind: int, flags: int, family: int, body: bytes = b"") -> None:
        self._turn += 1
        text = FAMILY.pack(family, 0, 0) + body
        self._kernel.send(HEADER.pack(HEADER.size + len(text), kind, REQUESTED | flags, self._turn, 0) + text)

    def _answers(self) -> Iterator[tuple[int, memoryview]]:
        while True:
            answer = memoryview(self._kernel.recv(BUFFER_BYTES))
            while len(answer) >= HEADER.size:
                length, kind, _, turn, _ = HEADER.unpack_from(answer)
                if turn == self._turn:
                    yield kind, answer[HEADER.size : length]
                answer = answer[(length + 3) & ~3 :]

    def _all(self, family: int) -> Iterator[memoryview]:
        self._send(GET, DUMP, family)
        for kind, body in self._answers():
            if kind == ERROR:
                raise _error(body)
            if kind == DONE:
                return
            yield body[FAMILY.size :]

    def _delete(self, family: int, parts: dict[int, bytes]) -> None:
        body = b""
        for kind, value in parts.items():
            text = ATTRIBUTE.pack(ATTRIBUTE.size + len(value), kind | (NESTED if kind == THERE else 0)) + value
            body += text + bytes(-len(text) % 4)
        self._send(DELETE, ACKNOWLEDGE, family, body)
        for kind, answer in self._answers():
            if kind == ERROR:
                problem = _error(answer)
                # It may have ended by itself.
                if problem.errno and problem.errno != errno.ENOENT:
                    raise problem
                return


def _error(body: memoryview) -> OSError:
    (number,) = struct.unpack_from("=i", body)
    return OSError(-number, os.strerror(-number))
