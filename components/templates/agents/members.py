"""Which members of a role live, as the hub that this host is on answers: RFC 1035, by TCP where UDP has no room."""

import asyncio
import random
import struct
from ipaddress import AddressValueError, IPv4Address

PORT = 53
PATIENCE_SECONDS = 2
WANTED, TRUNCATED, CODE, NO_SUCH_NAME = 0x100, 0x200, 0xF, 3
IPV4, INTERNET = 1, 1
POINTER = 0xC0
HEADER, RECORD = struct.Struct(">6H"), struct.Struct(">HHIH")


class Unknown(Exception):
    """The hub gave no answer that says who lives."""


def question(name: str, number: int) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return HEADER.pack(number, WANTED, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", IPV4, INTERNET)


def answered(answer: bytes, number: int, prefix: str) -> set[int] | None:
    """Return the ids of members that an answer names; None if it has no room for all.

    Args:
        prefix: The first address of the role's block.

    Raises:
        Unknown: It is no answer to this question, or a refusal.
    """
    try:
        known, flags, questions, records, _, _ = HEADER.unpack_from(answer)
        if known != number or flags & CODE not in (0, NO_SUCH_NAME):
            raise Unknown(f"code {flags & CODE}")
        if flags & TRUNCATED:
            return None
        first, at, found = int(IPv4Address(prefix)), HEADER.size, set()
        for _ in range(questions):
            at = _after_name(answer, at) + 4
        for _ in range(records):
            at = _after_name(answer, at)
            kind, _, _, length = RECORD.unpack_from(answer, at)
            at += RECORD.size
            if kind == IPV4:
                found.add(int(IPv4Address(answer[at : at + length])) - first)
            at += length
    except (struct.error, IndexError, AddressValueError) as problem:
        raise Unknown(f"no answer of a hub's: {problem}") from None
    return {member for member in found if 1 <= member <= 254}


def _after_name(answer: bytes, at: int) -> int:
    while length := answer[at]:
        if length & POINTER:
            return at + 2
        at += 1 + length
    return at + 1


class _Talk(asyncio.DatagramProtocol):
    def __init__(self, number: int) -> None:
        self._number = number
        self.answer = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: object) -> None:
        # Whatever else comes is not the answer.
        if not self.answer.done() and data[:2] == struct.pack(">H", self._number):
            self.answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc)


async def live_members(hub: str, name: str, prefix: str) -> set[int]:
    """Ask for the ids of a role's live members.

    Raises:
        Unknown: There is no answer.
    """
    number = random.randrange(1 << 16)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            members = answered(await _by_udp(hub, name, number), number, prefix)
            if members is None:
                members = answered(await _by_tcp(hub, name, number), number, prefix)
    except (OSError, TimeoutError, asyncio.IncompleteReadError) as problem:
        raise Unknown(str(problem) or "no answer") from None
    if members is None:
        raise Unknown("half an answer")
    return members


async def _by_udp(hub: str, name: str, number: int) -> bytes:
    loop = asyncio.get_running_loop()
    transport, talk = await loop.create_datagram_endpoint(lambda: _Talk(number), remote_addr=(hub, PORT))
    try:
        transport.sendto(question(name, number))
        return await talk.answer
    finally:
        transport.close()


async def _by_tcp(hub: str, name: str, number: int) -> bytes:
    reader, writer = await asyncio.open_connection(hub, PORT)
    try:
        asked = question(name, number)
        writer.write(struct.pack(">H", len(asked)) + asked)
        (length,) = struct.unpack(">H", await reader.readexactly(2))
        return await reader.readexactly(length)
    finally:
        writer.close()
