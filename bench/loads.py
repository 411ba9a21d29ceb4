"""Traffic between two network namespaces, and what carrying it costs."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from lab import containers, underlay

PORT = 5201
UDP_BYTES, SMALL_BYTES = 1200, 64  # of payload; the first fits every tunnel here, the second is a voice packet's
PING_SECONDS = 0.005
TRIES, PAUSE_SECONDS = 5, 0.3
TICKS_A_SECOND = 100
GIGABYTE = 10**9
# Whatever this bench starts ends with it.
WITH_BENCH = ("setpriv", "--pdeathsig", "KILL", "nsenter")


@dataclass(frozen=True)
class Way:
    """How packets go from one machine to another."""

    name: str
    client: str  # network namespaces of the two
    server: str
    address: str  # the server's, on this way
    program: str = ""  # what carries them, in the machines below
    carriers: tuple[str, ...] = ()

    def cpu_seconds(self) -> float:
        """Return what its daemons have spent."""
        return sum(
            spent
            for namespace in self.carriers
            for process in containers.processes(namespace)
            if (spent := _spent(process, self.program)) is not None
        )


@dataclass(frozen=True)
class Load:
    """What a way carried, and what it took."""

    megabits_a_second: float
    packets_a_second: float = 0
    daemons_seconds_a_gigabyte: float = 0
    computer_seconds_a_gigabyte: float = 0


def tcp(way: Way, seconds: int) -> Load:
    """Send one stream as fast as it goes."""
    ended, daemons, computer = _costed(way, "-t", str(seconds))
    got = ended["sum_received"]
    gigabytes = got["bytes"] / GIGABYTE
    return Load(got["bits_per_second"] / 1e6, 0, daemons / gigabytes, computer / gigabytes)


def udp(way: Way, seconds: int, size: int = UDP_BYTES) -> Load:
    """Send datagrams as fast as the sender can; count those that arrive."""
    ended, daemons, computer = _costed(way, "-u", "-b", "0", "-l", str(size), "-t", str(seconds))
    got = ended["sum"]
    arrived = got["packets"] - got["lost_packets"]
    gigabytes = max(arrived * size / GIGABYTE, 1e-9)
    rate = arrived / got["seconds"]
    return Load(rate * size * 8 / 1e6, rate, daemons / gigabytes, computer / gigabytes)


def round_trips(way: Way, seconds: float) -> list[float]:
    """Return the round trips of pings on an idle way, in ms."""
    count = max(int(seconds / PING_SECONDS), 20)
    ping = ["ping", "-n", "-i", str(PING_SECONDS), "-c", str(count), "-W", "2", way.address]
    done = subprocess.run(_inside(way.client, *ping), capture_output=True, text=True)
    found = [float(text) for text in re.findall(r"time=([0-9.]+) ms", done.stdout)]
    if len(found) < count * 0.9:
        raise RuntimeError(f"{way.name}: {len(found)} of {count} pings answered")
    return found


def told(namespace: str, *command: str) -> str:
    """Return what a program prints in a machine's network."""
    return subprocess.run(_inside(namespace, *command), capture_output=True, text=True, check=True).stdout


def quantile(values: Iterable[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def _costed(way: Way, *options: str) -> tuple[dict, float, float]:
    daemons, computer = way.cpu_seconds(), _computer_seconds()
    ended = _again(lambda: _iperf(way, *options))
    return ended, way.cpu_seconds() - daemons, _computer_seconds() - computer


def _iperf(way: Way, *options: str) -> dict:
    listen = ["iperf3", "-s", "-1", "-B", way.address, "-p", str(PORT)]
    server = subprocess.Popen(_inside(way.server, *listen), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(PAUSE_SECONDS)
        call = ["iperf3", "-c", way.address, "-p", str(PORT), "-J", "--connect-timeout", "3000", *options]
        done = subprocess.run(_inside(way.client, *call), capture_output=True, text=True, timeout=120)
    finally:
        server.kill()
        server.wait()
    told = json.loads(done.stdout or "{}")
    if "error" in told or "end" not in told or not told["end"]:
        raise RuntimeError(f"{way.name}: iperf3: {told.get('error', done.stderr[-300:])}")
    return told["end"]


def _again(work: Callable[[], dict]) -> dict:
    # A flood may drown iperf3's own words about it.
    for left in reversed(range(TRIES)):
        try:
            return work()
        except RuntimeError:
            if not left:
                raise
            time.sleep(PAUSE_SECONDS)
    raise AssertionError


def _inside(namespace: str, *command: str) -> list[str]:
    return [*WITH_BENCH, f"--net={underlay.NAMESPACES / namespace}", *command]


def _spent(process: int, program: str) -> float | None:
    try:
        name, _, rest = Path(f"/proc/{process}/stat").read_text().partition("(")[2].rpartition(")")
    except OSError:
        return None
    fields = rest.split()
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND if name == program else None


def _computer_seconds() -> float:
    """Return what all processors have spent, but for idling and waiting."""
    user, nice, system, _, _, irq, softirq, *_ = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:])
    return (user + nice + system + irq + softirq) / TICKS_A_SECOND
