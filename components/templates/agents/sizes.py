"""How large a tunnel's packets may be on a way: asked by pings that nobody may split (RFC 792, RFC 1191)."""

import asyncio
import contextlib
import socket
import struct

TRIES, WAIT_SECONDS = 2, 0.5
ECHO_REQUEST, HEADERS_BYTES = 8, 28  # IPv4's and ICMP's
MTU_DISCOVER, NEVER_SPLIT = 10, 3  # linux/in.h: IP_MTU_DISCOVER, IP_PMTUDISC_PROBE: nor believe what was once heard
# What OpenVPN and UDP over IPv4 add to a packet of the tunnel.
AROUND_BYTES = 52


async def largest(address: str, sizes: tuple[int, ...]) -> int | None:
    """Return the first of these that comes through to an IPv4 address; None where nothing does.

    Args:
        sizes: In bytes, the largest first.
    """
    for size in sizes:
        if await _carries(address, size):
            return size
    return None


async def _carries(address: str, size: int) -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP) as pings:
        pings.setblocking(False)
        pings.setsockopt(socket.IPPROTO_IP, MTU_DISCOVER, NEVER_SPLIT)
        pings.connect((address, 0))
        padding = bytes(size + AROUND_BYTES - HEADERS_BYTES)
        for turn in range(TRIES):
            pings.send(struct.pack("!BBHHH", ECHO_REQUEST, 0, 0, 0, turn) + padding)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WAIT_SECONDS):
                    return len(await asyncio.get_running_loop().sock_recv(pings, 65535)) >= len(padding)
    return False
