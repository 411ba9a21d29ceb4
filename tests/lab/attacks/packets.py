"""Packets made by hand, and sockets that send and see them in another network namespace, past its packet filter."""

from __future__ import annotations

import ctypes
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import TypeVar

NAMESPACES = Path("/run/netns")
CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)
ETH_P_ALL, ETH_P_IP, ETH_P_ARP, ETH_P_IPV6 = 0x0003, 0x0800, 0x0806, 0x86DD
ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
ARP_REQUEST, ARP_REPLY = 1, 2
ROUTER_ADVERTISEMENT = 134
PACKET_OUTGOING = 4  # linux/if_packet.h: this machine's own
SO_RCVBUFFORCE = 33  # asm-generic/socket.h
BROADCAST = b"\xff" * 6
LONGEST_FRAME = 65_536
BUFFER_BYTES = 32 << 20
Made = TypeVar("Made")


def within(namespace: str, make: Callable[[], Made]) -> Made:
    """Do something in a network namespace; a socket made there stays there."""

    def enter() -> Made:
        with (NAMESPACES / namespace).open() as file:
            assert LIBC.setns(file.fileno(), CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        return make()

    # The namespace is the thread's, which ends here.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(enter).result()


class Wire:
    """A network device of another namespace: what is sent here leaves by it as it is, what passes it is seen."""

    def __init__(self, namespace: str, device: str) -> None:
        def opened() -> socket.socket:
            made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            made.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
            made.bind((device, ETH_P_ALL))
            return made

        self._socket = within(namespace, opened)
        self.own_mac = self._socket.getsockname()[4]

    def send(self, frame: bytes) -> None:
        self._socket.send(frame)

    def frames(self, seconds: float) -> Iterator[tuple[bool, bytes]]:
        """Yield what passes for some seconds, and had passed before: (whether it leaves this device, the frame)."""
        deadline = time.monotonic() + seconds
        while select.select([self._socket], [], [], max(0.0, deadline - time.monotonic()))[0]:
            frame, address = self._socket.recvfrom(LONGEST_FRAME)
            yield address[2] == PACKET_OUTGOING, frame

    def came(self, seconds: float = 0.0) -> list[bytes]:
        """Return what came in by it meanwhile and comes in these seconds."""
        return [frame for leaves, frame in self.frames(seconds) if not leaves]

    def left(self, seconds: float = 0.0) -> list[bytes]:
        """Return what left by it meanwhile and leaves in these seconds."""
        return [frame for leaves, frame in self.frames(seconds) if leaves]

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *reason: object) -> None:
        self._socket.close()


def checksum(data: bytes) -> int:
    """Return the internet checksum (RFC 1071)."""
    padded = data + b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def packet(source: str, target: str, protocol: int, payload: bytes, hops: int = 64) -> bytes:
    """Return an IP packet of the addresses' family."""
    one, other = ip_address(source), ip_address(target)
    if isinstance(one, IPv6Address):
        return struct.pack("!IHBB", 6 << 28, len(payload), protocol, hops) + one.packed + other.packed + payload
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0, hops, protocol, 0) + one.packed + other.packed
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def _pseudo(source: str, target: str, protocol: int, length: int) -> bytes:
    one, other = ip_address(source), ip_address(target)
    rest = (
        struct.pack("!IHBB", length, 0, 0, protocol) if one.version == 6 else struct.pack("!BBH", 0, protocol, length)
    )
    return one.packed + other.packed + rest


def udp(source: str, target: str, ports: tuple[int, int], data: bytes) -> bytes:
    """Return a datagram's packet; `ports` are the source's and the target's."""
    length = 8 + len(data)
    head = struct.pack("!HHHH", *ports, length, 0)
    total = checksum(_pseudo(source, target, UDP, length) + head + data) or 0xFFFF
    return packet(source, target, UDP, head[:6] + struct.pack("!H", total) + data)


def tcp(source: str, target: str, ports: tuple[int, int], flags: int, number: int = 1) -> bytes:
    """Return a TCP segment's packet without data."""
    head = struct.pack("!HHIIBBHHH", *ports, number, 0, 5 << 4, flags, 65_535, 0, 0)
    total = checksum(_pseudo(source, target, TCP, len(head)) + head)
    return packet(source, target, TCP, head[:16] + struct.pack("!H", total) + head[18:])


def echo(source: str, target: str, data: bytes, identifier: int = 7, sequence: int = 1) -> bytes:
    """Return an echo request's packet."""
    if ip_address(source).version == 6:
        return icmpv6(source, target, 128, struct.pack("!HH", identifier, sequence) + data)
    body = struct.pack("!HH", identifier, sequence) + data
    total = checksum(struct.pack("!BBH", 8, 0, 0) + body)
    return packet(source, target, ICMP, struct.pack("!BBH", 8, 0, total) + body)


def icmpv6(source: str, target: str, kind: int, body: bytes, hops: int = 64) -> bytes:
    message = struct.pack("!BBH", kind, 0, 0) + body
    total = checksum(_pseudo(source, target, ICMPV6, len(message)) + message)
    return packet(source, target, ICMPV6, message[:2] + struct.pack("!H", total) + message[4:], hops)


def fragments(whole: bytes, size: int) -> Iterator[bytes]:
    """Yield an IPv4 packet in pieces of so many bytes of payload, a multiple of eight (RFC 791)."""
    for start in range(20, len(whole), size):
        piece = whole[start : start + size]
        more = 0x2000 if start + size < len(whole) else 0
        head = bytearray(whole[:20])
        struct.pack_into("!H", head, 2, 20 + len(piece))
        struct.pack_into("!HH", head, 6, more | (start - 20) // 8, struct.unpack_from("!H", head, 8)[0])
        struct.pack_into("!H", head, 10, 0)
        struct.pack_into("!H", head, 10, checksum(bytes(head)))
        yield bytes(head) + piece


def ethernet(source_mac: bytes, target_mac: bytes, payload: bytes, protocol: int | None = None) -> bytes:
    if protocol is None:
        protocol = ETH_P_IPV6 if payload[0] >> 4 == 6 else ETH_P_IP
    return target_mac + source_mac + struct.pack("!H", protocol) + payload


def arp(operation: int, mac: bytes, address: str, target_mac: bytes, target: str) -> bytes:
    """Return the frame in which `mac` says that it has `address` (RFC 826)."""
    head = struct.pack("!HHBBH", 1, ETH_P_IP, 6, 4, operation)
    body = mac + ip_address(address).packed + target_mac + ip_address(target).packed
    return ethernet(mac, BROADCAST if operation == ARP_REQUEST else target_mac, head + body, ETH_P_ARP)


def router_advertisement(mac: bytes, router: str, prefix: str) -> bytes:
    """Return a router's frame to all: `prefix` is on this link, and this router is the way out (RFC 4861)."""
    network, length = prefix.split("/")
    lifetime = 60
    head = struct.pack("!BBHII", 64, 0, lifetime, 0, 0)
    own = struct.pack("!BB", 1, 1) + mac
    # On-link and for addresses of one's own; then the same as a route (RFC 4191).
    on_link = struct.pack("!BBBBIII", 3, 4, int(length), 0xC0, lifetime, lifetime, 0) + ip_address(network).packed
    route = struct.pack("!BBBBI", 24, 3, int(length), 0x08, lifetime) + ip_address(network).packed
    message = icmpv6(router, "ff02::1", ROUTER_ADVERTISEMENT, head + own + on_link + route, hops=255)
    return ethernet(mac, b"\x33\x33\0\0\0\x01", message)


def udp_payload(frame: bytes) -> tuple[str, int, str, int, bytes] | None:
    """Return an IPv4 datagram in an Ethernet frame as source, port, target, port, data; None if it is none."""
    if len(frame) < 42 or frame[12:14] != struct.pack("!H", ETH_P_IP) or frame[23] != UDP:
        return None
    start = 14 + (frame[14] & 15) * 4
    source_port, target_port, length = struct.unpack_from("!HHH", frame, start)
    data = frame[start + 8 : start + length]
    return str(ip_address(frame[26:30])), source_port, str(ip_address(frame[30:34])), target_port, data


def tcp_flags(frame: bytes) -> tuple[str, int, int] | None:
    """Return an IPv4 segment in an Ethernet frame as source, its port, flags; None if it is none."""
    if len(frame) < 54 or frame[12:14] != struct.pack("!H", ETH_P_IP) or frame[23] != TCP:
        return None
    start = 14 + (frame[14] & 15) * 4
    return str(ip_address(frame[26:30])), struct.unpack_from("!H", frame, start)[0], frame[start + 13]
