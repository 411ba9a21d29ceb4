"""Gives the names' daemon a file for each live host, here and on other hubs, and tells other hubs of the hosts here.

A host's names are in its certificate; client-connect leaves them beside the session. A host is live while hubs have a
route to it. What a hub tells is whole or nothing, is told again now and then, and is forgotten if it is not: so a lost
packet, a hub that starts anew or one that goes needs no care.
"""

import contextlib
import json
import pathlib
import select
import socket
import sys
import time
from ipaddress import IPv4Address, IPv4Network, IPv6Network

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import doors
from live import Live
from plan import ipv6_of, place
from table import Named, Table, lines, member, messages, of_certificate, told

CONFIG = pathlib.Path("/etc/vcubev/names.json")
HOSTS = pathlib.Path("/run/vcubev-names/hosts")
LEFT = ".names"  # what client-connect leaves: ADDRESS.names
LOOK_SECONDS = 0.2
WHOLE_LOOK_SECONDS = 2  # a file that was written anew does not show in its directory
TELL_SECONDS = 10  # all of it
TELL_AGAIN_SECONDS = 0.5  # a change, in case that a packet was lost
ANSWER_SECONDS = 1  # between two answers to one hub
SETTLE_SECONDS = 1.5  # from the start: what other hubs know is on its way, and until then nothing is taken back
LONGEST_PACKET = 2048


class Names:
    """One hub's knowledge, and what it makes of it."""

    def __init__(self) -> None:
        config = json.loads(CONFIG.read_text())
        self.address = IPv4Address(config["ipv4"])
        self.port, self.domain = config["names_port"], config["domain"]
        self.overlay4, self.overlay6 = IPv4Network(config["overlay_ipv4"]), IPv6Network(config["overlay_ipv6"])
        self.table = Table()
        self.hosts: set[IPv4Address] = set()  # live ones
        self.hubs: set[IPv4Address] = set()  # live ones, without this
        self.live = Live(self.overlay4)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.bind((str(self.address), self.port))
        self._started = time.monotonic()
        self._stale = True  # the kernel's routes have changed
        self._next_routes = self._next_whole_look = self._tell_at = 0.0
        self._seen: list[tuple[str, int]] = []
        self._asked: set[IPv4Address] = set()
        self._answered: dict[IPv4Address, float] = {}
        self._again: dict[IPv4Address, float] = {}
        self._refused: set[IPv4Address] = set()
        self._written = {path.name: path.read_text() for path in HOSTS.iterdir() if not path.name.startswith(".")}

    # What it learns

    def look(self, now: float) -> None:
        """Take what is new, here and in the kernel's routes; tell it and write it down."""
        new = self._look_at_sessions(now)
        self._stale |= self.live.changed()
        came: set[IPv4Address] = set()
        if self._stale and now >= self._next_routes:
            came = self._look_at_routes(now)
        self.table.forget(now)
        self._tell(now, new, came)
        self.write(now)

    def _look_at_sessions(self, now: float) -> set[IPv4Address]:
        """Return the hosts that came, or have other names now."""
        directories = [doors.sessions(device) for device in doors.devices()]
        seen = [(each.name, each.stat().st_mtime_ns if each.exists() else 0) for each in directories]
        if seen == self._seen and now < self._next_whole_look:
            return set()
        self._next_whole_look = now + WHOLE_LOOK_SECONDS
        own: dict[IPv4Address, Named] = {}
        whole = True
        for directory in directories:
            for path in directory.glob(f"*{LEFT}"):
                text = ""
                with contextlib.suppress(OSError):  # it goes while this looks
                    text = path.read_text(errors="replace")
                whole &= bool(text)  # it is just being written
                with contextlib.suppress(ValueError):  # a certificate of before there were names
                    own[member(path.name.removesuffix(LEFT), self.overlay4)] = of_certificate(text, self.domain)
        self._seen = seen if whole else []
        new = {address for address, named in own.items() if self.table.own.get(address) != named}
        self.table.own = own
        return new

    def _look_at_routes(self, now: float) -> set[IPv4Address]:
        """Return the hubs that came."""
        began = time.monotonic()
        try:
            live = self.live.addresses()
        except OSError as problem:
            print(f"the kernel's routes: {problem}", flush=True)
            live = None
        # A tenth of the processor at most, however often they change.
        self._next_routes = now + max(LOOK_SECONDS, 10 * (time.monotonic() - began))
        if live is None:
            return set()
        self._stale = False
        hubs = {address for address in live if place(address, self.overlay4)[0] == 0 and address != self.address}
        came, self.hubs, self.hosts = hubs - self.hubs, hubs, live - hubs - {self.address}
        return came

    def hear(self, now: float, message: bytes, source: str) -> None:
        """Take a packet from another hub."""
        hub = IPv4Address(source)
        # The packet filter lets in no other either.
        if hub not in self.overlay4 or place(hub, self.overlay4)[0] != 0 or hub == self.address:
            return
        try:
            ask, hosts = told(message, self.overlay4)
        except ValueError as problem:
            if hub not in self._refused:
                print(f"hub {hub} says what no hub says: {problem}", flush=True)
            self._refused.add(hub)
            return
        self.table.hear(now, hub, hosts)
        if ask and now >= self._answered.get(hub, 0.0):
            self._answered[hub] = now + ANSWER_SECONDS
            self._send(hub, messages(self.table.own))

    # What it tells

    def _tell(self, now: float, new: set[IPv4Address], came: set[IPv4Address]) -> None:
        """Tell all hubs what is new, and those that are new everything."""
        for hub in came:
            # Who has just started has heard nothing yet.
            self._send(hub, messages(self.table.own, ask=hub not in self._asked))
            self._asked.add(hub)
        if now >= self._tell_at:
            self._tell_at = now + TELL_SECONDS
            for hub in self.hubs - came:
                self._send(hub, messages(self.table.own))
        due = {address for address, at in self._again.items() if now >= at}
        self._again = {address: at for address, at in self._again.items() if now < at}
        self._again |= dict.fromkeys(new, now + TELL_AGAIN_SECONDS)
        changed = {address: self.table.own[address] for address in new | due if address in self.table.own}
        for hub in self.hubs - came if changed else ():
            self._send(hub, messages(changed))

    def _send(self, hub: IPv4Address, parts: list[bytes]) -> None:
        with contextlib.suppress(OSError):  # it has just gone, or the line is full: it will be told again
            for part in parts:
                self.socket.sendto(part, (str(hub), self.port))

    def write(self, now: float) -> None:
        """Give the daemon what is known of the live hosts."""
        wanted = {
            str(address): lines((address, ipv6_of(address, self.overlay4, self.overlay6)), hosts, self.domain)
            for address, hosts in self.table.known(self.hosts).items()
        }
        # With no room for it, the rest is tried; and this one again.
        for name in wanted.keys() - {n for n, text in self._written.items() if wanted.get(n) == text}:
            with contextlib.suppress(OSError):
                draft = HOSTS / f".{name}"  # the daemon overlooks these
                draft.write_text(wanted[name])
                draft.replace(HOSTS / name)
                self._written[name] = wanted[name]
        if now < self._started + SETTLE_SECONDS:
            return
        for name in self._written.keys() - wanted.keys():
            (HOSTS / name).unlink(missing_ok=True)
            del self._written[name]


def main() -> None:
    names = Names()
    while True:
        now = time.monotonic()
        names.look(now)
        deadline = now + LOOK_SECONDS
        while (left := deadline - time.monotonic()) > 0:
            if select.select([names.socket], [], [], left)[0]:
                with contextlib.suppress(OSError):
                    message, (source, _) = names.socket.recvfrom(LONGEST_PACKET)
                    names.hear(time.monotonic(), message, source)


if __name__ == "__main__":
    main()
