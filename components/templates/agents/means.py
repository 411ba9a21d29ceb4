"""What the agent of direct tunnels has done by others: the packet filter's and the kernel's tables, systemd, keys."""

import asyncio
import hashlib
import json
import os
import pathlib
import socket
import subprocess
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

FILTER = "/etc/vcubev/direct.nft"
TABLE = ("inet", "vcubev_direct")
TURN = "/run/vcubev-direct-turn"
PKI = "/etc/vcubev/pki"
VERIFIED = "/usr/local/lib/vcubev/direct-verified"
ROUTE_METRIC = 5
STATIC_KEY_BYTES = 256
Both = tuple[IPv4Address, IPv6Address]  # addresses of a member


def route(slot: int, peer: Both, own: Sequence[str] | None, mtu_bytes: int = 0) -> None:
    """Lead what is for a peer into a tunnel.

    Args:
        own: Addresses of this host; None to lead it there no more.
        mtu_bytes: How large packets may be.
    """
    for at, address in enumerate(peer):
        words = f"{address}/{address.max_prefixlen} dev direct{slot} metric {ROUTE_METRIC}"
        words = f"replace {words} src {own[at]} mtu {mtu_bytes}" if own else f"del {words}"
        # With its device the route has gone already.
        silent = None if own else subprocess.DEVNULL
        subprocess.run(["ip", f"-{address.version}", "route", *words.split()], stderr=silent)


def know_peer(verb: str, slot: int, peer: Both) -> None:
    """Let what comes by a tunnel in if it comes from its peer ("add"), or no more ("delete")."""
    for address in peer:
        element = f'{verb} element {" ".join(TABLE)} peers{address.version} {{ "direct{slot}" . {address} }}'
        subprocess.run(["nft", element], stderr=subprocess.DEVNULL if verb == "delete" else None)


def options(slot: int, peer: IPv4Address, listen: bool, address: str, port: int) -> list[str]:
    """Return what /etc/vcubev/direct.conf leaves open: OpenVPN's options for one end of a tunnel."""
    if listen:
        way = [f"port {port}", "float", "tls-server", "dh none", f"cert {PKI}/direct.pem", "remote-cert-tls client"]
    else:
        way = ["nobind", f"remote {address} {port}", "tls-client", f"cert {PKI}/certificate.pem"]
        way.append("remote-cert-tls server")
    return [f"dev direct{slot}", *way, f'tls-verify "{VERIFIED} {peer}"']


async def counted(overlay4: IPv4Network, overlay6: IPv6Network) -> dict[int, int]:
    """Return how many bytes were sent to whom, by IPv4 address.

    Raises:
        OSError, ValueError, KeyError, TypeError: The table is not there, or is another.
    """
    found: dict[int, int] = {}
    for version in (4, 6):
        command = ("nft", "-j", "list", "set", *TABLE, f"talk{version}")
        pipe = asyncio.subprocess.PIPE
        nft = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=asyncio.subprocess.DEVNULL)
        shown = json.loads((await nft.communicate())[0])
        (talk,) = (entry["set"] for entry in shown["nftables"] if "set" in entry)
        for one in (entry["elem"] for entry in talk.get("elem", [])):
            peer = ipv4_of(one["val"], overlay4, overlay6)
            found[peer] = found.get(peer, 0) + one["counter"]["bytes"]
    return found


def ipv4_of(address: str, overlay4: IPv4Network, overlay6: IPv6Network) -> int:
    """Return a member's IPv4 address from either of its two."""
    if ":" not in address:
        return int(IPv4Address(address))
    role, member = divmod(int.from_bytes(socket.inet_pton(socket.AF_INET6, address)) - int(overlay6[0]), 1 << 64)
    return int(overlay4[0]) + 256 * role + member


def static_key(secret: str) -> str:
    """Return an OpenVPN static key that both ends make of what one of them has drawn."""
    seed, blocks = bytes.fromhex(secret), range(STATIC_KEY_BYTES // 64)
    text = b"".join(hashlib.sha512(bytes([block]) + seed).digest() for block in blocks).hex()
    lines = [text[at : at + 32] for at in range(0, len(text), 32)]
    return "\n".join(["-----BEGIN OpenVPN Static key V1-----", *lines, "-----END OpenVPN Static key V1-----", ""])


def private_file(path: pathlib.Path, text: str) -> None:
    """Write what nobody but root and this agent may read."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def load_filter() -> None:
    """Make this agent's table of the packet filter anew, with nothing in its sets."""
    subprocess.run(["nft", "-f", FILTER], check=True)


def turn(word: str, slot: int) -> None:
    """Have a tunnel begin or end; see direct-turn."""
    try:
        with open(os.open(TURN, os.O_WRONLY | os.O_NONBLOCK), "wb", buffering=0) as fifo:
            fifo.write(f"{word} {slot}\n".encode())
    except OSError as problem:
        print(f"direct tunnel {slot} cannot be told to {word}: {problem}", flush=True)
