"""Watches the overlay from within one machine: numbered datagrams and TCP records to its peers, every 20 ms.

Runs in a machine by `python3 -ISc`, so it knows the standard library only. Told what to do by its first argument,

    {"addresses": [own, ...], "port": 7007, "patience": 5, "peers": {name: address, ...},
     "streams": {number: {"peer": address to connect to or "" to wait for, "sends": true or false}, ...}}

and by lines on standard input: `start TICK`, `stop TICK`. A tick is 20 ms of the monotonic clock, which all machines of
the lab share, so the number in a datagram says when it was due. It prints `ready`, and its report as JSON at the end.
SIGTERM stops it as well; the end of its input, which is the death of whoever started it, ends it at once.

One process, no threads; it wakes once a tick. The kernel notes when a datagram came, so that waking less costs nothing.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import struct
import sys
import time
from contextlib import suppress

TICK_SECONDS = 0.02
GAP_SECONDS = 0.2  # holes longer than this are counted
DRAIN_SECONDS = 0.4  # how long datagrams may be under way after the last was sent
LONGEST_WATCH = 1 << 20  # ticks; a datagram's number far from the start is none of ours
NUMBER = struct.Struct("!I")
STAMP = struct.Struct("@qq")
SO_TIMESTAMPNS = 35  # Linux, asm-generic/socket.h; in terms of CLOCK_REALTIME
NOT_ENDED = "not ended"  # of a stream
NOTES_BYTES = 64  # holds the stamp with its header


def at(tick: int) -> float:
    return tick * TICK_SECONDS


def family_of(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def reason(problem: OSError) -> str:
    return errno.errorcode.get(problem.errno or 0, str(problem))


class Arrivals:
    """When the datagrams of one peer came: its longest hole, and a mark for each tick."""

    def __init__(self, start: int) -> None:
        self.start, self.seen, self.twice = start, bytearray(), 0
        self.last, self.longest, self.longest_at, self.gaps = at(start), 0.0, 0.0, 0

    def note(self, tick: int, when: float) -> None:
        place = tick - self.start
        if not 0 <= place < LONGEST_WATCH:
            return
        if place >= len(self.seen):
            self.seen.extend(bytes(place + 1 - len(self.seen)))
        self.twice += self.seen[place]
        self.seen[place] = 1
        self._hole_until(when)

    def _hole_until(self, when: float) -> None:
        length = when - self.last
        if length > self.longest:
            self.longest, self.longest_at = length, self.last
        self.gaps += length > GAP_SECONDS
        self.last = max(self.last, when)

    def report(self, stop: int) -> dict[str, object]:
        """Return what came of the ticks before `stop`; silence at the end is a hole like any other."""
        self._hole_until(at(stop))
        due = max(0, stop - self.start)
        received = sum(self.seen[:due])
        return {
            "sent": due,
            "received": received,
            "lost": due - received,
            "twice": self.twice,
            "gap_ms": round(self.longest * 1000, 1),
            "gap_at": round(self.longest_at, 3),
            "gaps": self.gaps,
        }


class Stream:
    """One end of a TCP connection over which numbered records go one way."""

    def __init__(self, number: int, peer: str, sends: bool) -> None:
        self.number, self.peer, self.sends = number, peer, sends
        self.socket: socket.socket | None = None
        self.outgoing, self.incoming, self.records = b"", b"", 0
        self.error, self.said_all, self.closed = "", False, False
        self.stall, self.last = 0.0, 0.0

    def connect(self, own: str, port: int) -> None:
        made = socket.socket(family_of(own), socket.SOCK_STREAM)
        self.take(made)
        made.bind((own, 0))
        made.connect_ex((self.peer, port))
        self.outgoing = NUMBER.pack(self.number)

    def take(self, connection: socket.socket) -> None:
        self.socket, self.last = connection, time.monotonic()
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def turn(self, recording: bool) -> None:
        """Do what is due at one tick."""
        if self.socket is None or self.error or self.closed:
            return
        if self.sends and recording:
            self.outgoing += NUMBER.pack(self.records)
            self.records += 1
        try:
            if self.outgoing:
                with suppress(BlockingIOError):
                    self.outgoing = self.outgoing[self.socket.send(self.outgoing) :]
            elif self.sends and not recording and not self.said_all:
                self.socket.shutdown(socket.SHUT_WR)
                self.said_all = True
            with suppress(BlockingIOError):
                self._receive(self.socket)
        except OSError as problem:
            self.error = reason(problem)

    def _receive(self, connection: socket.socket) -> None:
        while data := connection.recv(65536):
            now = time.monotonic()
            if self.records:  # connecting is no stall
                self.stall = max(self.stall, now - self.last)
            self.last = now
            self.incoming += data
            whole = len(self.incoming) // NUMBER.size * NUMBER.size
            for (number,) in NUMBER.iter_unpack(self.incoming[:whole]):
                if number != self.records and not self.error:
                    self.error = f"record {number} instead of {self.records}"
                self.records += 1
            self.incoming = self.incoming[whole:]
        # The sender said that this was all; then the receiver, that it has all.
        connection.close()
        self.closed = True
        if self.sends and not self.said_all:
            self.error = "closed by the receiver"

    def report(self) -> dict[str, object]:
        error = self.error or ("" if self.closed else NOT_ENDED if self.socket else "never connected")
        stall = self.stall if self.closed else max(self.stall, time.monotonic() - self.last)
        return {"sends": self.sends, "records": self.records, "error": error, "stall_ms": round(stall * 1000)}


class Watch:
    """All sockets of one machine."""

    def __init__(self, order: dict) -> None:
        self.port, self.patience = order["port"], order["patience"]
        self.own = {family_of(address): address for address in order["addresses"]}
        self.datagrams = {family: self._bound(family, socket.SOCK_DGRAM) for family in self.own}
        self.listeners = [self._bound(family, socket.SOCK_STREAM) for family in self.own]
        self.peers = {address: name for name, address in order["peers"].items()}
        self.streams = {int(n): Stream(int(n), one["peer"], one["sends"]) for n, one in order["streams"].items()}
        self.nameless: list[socket.socket] = []
        self.arrivals: dict[str, Arrivals] = {}
        self.refused: dict[str, int] = {}
        self.start = self.stop = 0
        self.late, self.commands = 0.0, b""
        signal.signal(signal.SIGTERM, lambda *_: self.end(int(time.monotonic() / TICK_SECONDS)))

    def _bound(self, family: socket.AddressFamily, kind: socket.SocketKind) -> socket.socket:
        made = socket.socket(family, kind)
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((self.own[family], self.port))
        if kind == socket.SOCK_DGRAM:
            made.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        else:
            made.listen()
        return made

    def end(self, tick: int) -> None:
        self.stop = min(self.stop or tick, tick)

    def command(self) -> None:
        """Do what standard input says, if it says anything."""
        with suppress(BlockingIOError):
            data = os.read(0, 4096)
            if not data:
                sys.exit("whoever started this is gone")
            *lines, self.commands = (self.commands + data).split(b"\n")
            for word, tick in map(bytes.split, lines):
                if word == b"start":
                    self.start = int(tick)
                else:
                    self.end(int(tick))

    def run(self) -> dict[str, object]:
        """Send and receive from `start` to `stop`, then wait for what is under way."""
        while not self.start:
            self.command()
        os.set_blocking(0, False)
        self.arrivals = {name: Arrivals(self.start) for name in self.peers.values()}
        for stream in self.streams.values():
            if stream.peer:
                stream.connect(self.own[family_of(stream.peer)], self.port)
        tick = self.start
        while not self.stop or tick < self.stop:
            now = time.monotonic()
            if now < at(tick):
                time.sleep(at(tick) - now)
            self.late = max(self.late, time.monotonic() - at(tick))
            self.send(tick)
            self.turn(recording=True)
            self.command()
            tick += 1
        drained, hopeless = at(self.stop) + DRAIN_SECONDS, at(self.stop) + self.patience
        while (now := time.monotonic()) < drained or (now < hopeless and not self.streams_ended()):
            time.sleep(TICK_SECONDS)
            self.turn(recording=False)
        return self.report()

    def streams_ended(self) -> bool:
        return all(stream.closed or stream.error for stream in self.streams.values())

    def send(self, tick: int) -> None:
        for address in self.peers:
            try:
                self.datagrams[family_of(address)].sendto(NUMBER.pack(tick), (address, self.port))
            except OSError as problem:
                self.refused[reason(problem)] = self.refused.get(reason(problem), 0) + 1

    def turn(self, recording: bool) -> None:
        for datagrams in self.datagrams.values():
            with suppress(BlockingIOError):
                self._receive(datagrams)
        for listener in self.listeners:
            with suppress(BlockingIOError):
                self.nameless.append(listener.accept()[0])
                self.nameless[-1].setblocking(False)
        for connection in list(self.nameless):
            with suppress(OSError):
                self._name(connection)
        for stream in self.streams.values():
            stream.turn(recording)

    def _receive(self, datagrams: socket.socket) -> None:
        shift = time.monotonic() - time.time()
        while True:
            data, notes, _, (address, *_) = datagrams.recvmsg(16, NOTES_BYTES)
            name = self.peers.get(address)
            if name is not None and len(data) == NUMBER.size and notes:
                seconds, nanoseconds = STAMP.unpack_from(notes[0][2])
                self.arrivals[name].note(NUMBER.unpack(data)[0], seconds + nanoseconds / 1e9 + shift)

    def _name(self, connection: socket.socket) -> None:
        """Learn which stream a connection from a peer is."""
        head = connection.recv(NUMBER.size)
        self.nameless.remove(connection)
        stream = self.streams.get(NUMBER.unpack(head)[0]) if len(head) == NUMBER.size else None
        if stream and stream.socket is None:
            stream.take(connection)
        else:
            connection.close()

    def report(self) -> dict[str, object]:
        times = os.times()
        return {
            "late_ms": round(self.late * 1000, 1),
            "cpu_ms": round((times.user + times.system) * 1000),
            "refused": self.refused,
            "peers": {name: arrivals.report(self.stop) for name, arrivals in self.arrivals.items()},
            "streams": {number: stream.report() for number, stream in self.streams.items()},
        }


def main() -> None:
    watch = Watch(json.loads(sys.argv[1]))
    with suppress(OSError):
        os.nice(-10)  # the network is measured, not how busy this computer is
    print("ready", flush=True)
    print(json.dumps(watch.run()), flush=True)


if __name__ == "__main__":
    main()
