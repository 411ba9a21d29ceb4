"""What a host's claim does: its traffic comes by its tunnel here, with packets as large as it says."""

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Network

import doors
from bird import HIGHEST_NUMBER, Bird, mtu_bytes, newest_at, numbers
from kernel import Table
from plan import ipv6_of


class Claiming:
    """Carries claims out in the kernel's table of this hub's hosts."""

    def __init__(self, table: Table, config: dict) -> None:
        self._table = table
        self._overlay4, self._overlay6 = IPv4Network(config["overlay_ipv4"]), IPv6Network(config["overlay_ipv6"])
        self._sizes = (config["mtu_bytes"], config["jumbo_mtu_bytes"])

    def take(self, bird: Bird, address: IPv4Address, question: dict) -> tuple[int | None, int, int]:
        """Move a host's number past all others; return it, the highest of them, and the id of the hub that has that.

        The first is None if the host is not here; the last is 0 but for who is told that another place came later.

        The host tells the number that it had elsewhere ("above"): the hub that knew it may be out of sight, and must
        not win when it comes back. Or the one that this hub has confirmed ("confirmed"): if it still stands and another
        place is past it, another machine with this identity came later, and two that claim would do so for ever.
        """
        answer = bird.ask(f"show route {address}/32 all")
        if answer is None:
            return None, 0, 0
        mine, newest = numbers(answer)
        above = question.get("above")
        if type(above) is int and 0 < above < HIGHEST_NUMBER:
            newest = max(newest, above)
        confirmed = question.get("confirmed")
        superseded = type(confirmed) is int and 0 < confirmed == mine < newest
        # 1 is a spare's, even where there is no other: the next spare could not be below it.
        if mine == 0 or mine > max(newest, 1) or superseded:
            self._resize(address, answer, mine, question)
            return mine or None, newest, newest_at(answer) if superseded else 0
        number = newest + 2  # one between is for the spares that come
        if number > HIGHEST_NUMBER:
            print(f"{address}: mobility number {newest} is the highest; it must leave all hubs once", flush=True)
            return None, newest, 0
        if not self._moved(address, answer, mine, number, self._size(question)):
            return None, newest, 0
        print(f"{address} claims its traffic: {mine} -> {number} (elsewhere {newest})", flush=True)
        return number, newest, 0

    def _moved(self, address: IPv4Address, answer: str, mine: int, number: int, size: int) -> bool:
        """Give a host's routes another number, where they still are what BIRD has answered."""
        try:
            interface = _interface(answer)
            return bool(interface) and all(
                self._table.move(host, interface, mine, number, size) for host in self._both(address)
            )
        except OSError as problem:
            print(f"{address}: its routes cannot be moved: {problem}", flush=True)
            return False

    def _resize(self, address: IPv4Address, answer: str, mine: int, question: dict) -> None:
        """Let packets to a host be as large as it says that its tunnel takes, where that is another size now."""
        size = self._size(question)
        if mine == 0 or mtu_bytes(answer) in (0, size):
            return
        try:
            if interface := _interface(answer):
                for host in self._both(address):
                    self._table.resize(host, interface, mine, size)
        except OSError as problem:  # it has moved since; it asks again
            print(f"{address}: its routes keep their packets' size: {problem}", flush=True)

    def _size(self, question: dict) -> int:
        least, most = self._sizes
        size = question.get("mtu")
        return size if type(size) is int and least <= size <= most else least

    def _both(self, address: IPv4Address) -> tuple:
        return address, ipv6_of(address, self._overlay4, self._overlay6)


def _interface(answer: str) -> int:
    """Return the device of a host's tunnel here as BIRD tells it; of a link's route it is "on", and another device."""
    found = doors.BY_DEVICE.search(answer)
    return socket.if_nametoindex(found[1]) if found else 0
