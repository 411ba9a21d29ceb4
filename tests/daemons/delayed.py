"""A network of namespaces: a switch in this process carries packets between them, each with a delay of its own.

Runs inside `routed.apart()`.
"""

from __future__ import annotations

import fcntl
import heapq
import os
import select
import struct
import subprocess
import threading
import time

from components.model.topology import Overlay
from tests.daemons.routed import run

SET_DEVICE, TUN_WITHOUT_HEADER = 0x400454CA, 0x1001  # linux/if_tun.h


class Switch:
    """The network: what a namespace sends by its one device comes out at the device of whoever has the address."""

    def __init__(self, overlay: Overlay, delays: dict[str, float]) -> None:
        self._overlay, self._delays = overlay, delays
        self._devices: dict[str, int] = {}
        self._places: dict[bytes, str] = {}
        self.dead: set[str] = set()
        threading.Thread(target=self._carry, daemon=True).start()

    def add(self, name: str, device: str, ipv4, ipv6) -> None:
        """Make a namespace with these addresses, and a device that leads to all others."""
        tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        label = f"to-{name}"
        fcntl.ioctl(tun, SET_DEVICE, struct.pack("16sH14x", label.encode(), TUN_WITHOUT_HEADER))
        run("ip", "netns", "add", name)
        run("ip", "link", "set", label, "netns", name)
        overlay = self._overlay
        inside(
            name,
            "sh",
            "-euc",
            f"ip link set lo up; ip link set {label} name {device}; ip link set {device} up;"
            f" ip address add {ipv4}/32 dev lo; ip -6 address add {ipv6}/128 dev lo nodad;"
            f" ip route add {overlay.ipv4} dev {device} src {ipv4};"
            f" ip -6 route add {overlay.ipv6} dev {device} src {ipv6}",
        )
        self._places |= {ipv4.packed: name, ipv6.packed: name}
        self._devices[name] = tun

    def _carry(self) -> None:
        waiting: list[tuple[float, int, int, bytes]] = []
        count = 0
        while True:
            devices = {tun: name for name, tun in list(self._devices.items())}
            pause = max(0.0, waiting[0][0] - time.monotonic()) if waiting else 0.05
            for tun in select.select(devices, [], [], min(pause, 0.05))[0]:
                packet = os.read(tun, 65536)
                target = packet[16:20] if packet[0] >> 4 == 4 else packet[24:40]
                source, place = devices[tun], self._places.get(target)
                if place is None or {source, place} & self.dead:
                    continue
                count += 1
                late = time.monotonic() + self._delays[source] + self._delays[place]
                heapq.heappush(waiting, (late, count, self._devices[place], packet))
            while waiting and waiting[0][0] <= time.monotonic():
                _, _, tun, packet = heapq.heappop(waiting)
                os.write(tun, packet)


def inside(name: str, *command: str) -> str:
    return run("ip", "netns", "exec", name, *command)


def started(name: str, *command: str, **options) -> subprocess.Popen[str]:
    return subprocess.Popen(["ip", "netns", "exec", name, *map(str, command)], text=True, **options)
