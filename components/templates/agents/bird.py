"""What BIRD knows of a host, asked at its control socket."""

import re
import socket

SOCKET = "/run/bird/bird.ctl"
LOCAL_PREFERENCE = 100  # what BIRD adds to a mobility number
FIRST_ASN = 4_200_000_000  # a hub's number is this and its id
# 4 times the number and a little more is BIRD's 16-bit preference; past it, numbers would turn round.
HIGHEST_NUMBER = 16_000


class Bird:
    """One connection to BIRD's control socket; its end is BIRD's end."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None

    def ask(self, command: str) -> str | None:
        """Return BIRD's answer; None if there is no BIRD."""
        for _ in range(2):  # the first try may find the socket of a BIRD that has gone
            try:
                if self._socket is None:
                    self._socket = socket.socket(socket.AF_UNIX)
                    self._socket.settimeout(1)
                    self._socket.connect(SOCKET)
                    self._read()
                self._socket.sendall(command.encode() + b"\n")
                return self._read()
            except OSError:
                self.close()
        return None

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _read(self) -> str:
        text = b""
        # A reply ends with a line that begins with its code and a space.
        while not re.search(rb"^\d{4} .*\n\Z", text, re.MULTILINE):
            part = self._socket.recv(65536)
            if not part:
                raise ConnectionError("BIRD went")
            text += part
        return text.decode(errors="replace")


def mtu_bytes(answer: str) -> int:
    """Return how large the packets to a host may be by its tunnel here, 0 where that is not said.

    Args:
        answer: BIRD's to "show route ADDRESS/32 all".
    """
    own = False
    for line in answer.splitlines():
        own = "[hosts_kernel" in line if "[" in line else own
        if own and (found := re.search(r"Kernel\.mtu: (\d+)", line)):
            return int(found[1])
    return 0


def numbers(answer: str) -> tuple[int, int]:
    """Return (the host's mobility number here, the highest elsewhere), 0 where it is not.

    Args:
        answer: BIRD's to "show route ADDRESS/32 all".
    """
    places = _places(answer)
    return places.get(0, 0), max((number for hub, number in places.items() if hub), default=0)


def newest_at(answer: str) -> int:
    """Return the id of the hub elsewhere that has the highest number; 0 if none has any."""
    places = {number: hub for hub, number in _places(answer).items() if hub}
    return places[max(places)] if places else 0


def _places(answer: str) -> dict[int, int]:
    """Return hub -> a host's mobility number there; this hub is 0."""
    places: dict[int, int] = {}
    for part in re.split(r"^(?=.*\[\w)", answer, flags=re.MULTILINE):
        number = re.search(r"local_pref: (\d+)", part)
        # The last of a path's numbers is where it begins.
        path = re.search(r"as_path:(?: \d+)* (\d+)", part)
        if number:
            hub = int(path[1]) - FIRST_ASN if path else 0
            places[hub] = max(places.get(hub, 0), int(number[1]) - LOCAL_PREFERENCE)
    return places
