"""What hosts tell the hub that has their traffic: whether they could go elsewhere at once, and that they have gone.

BIRD knows it too, by the other hubs' routes, but not while the link to another hub is not there: for a while after that
one has been made anew.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Address

PREFERRED = re.compile(r"^(?:\d{4}-| )?(\d+\.\d+\.\d+\.\d+)/32 .*\[hosts_kernel4.*\] \* \(", re.MULTILINE)
# Hosts ask every 10 s (ASK_SECONDS in paths.py); who has been silent for longer is not waited for.
FRESH_SECONDS = 25


@dataclass(frozen=True)
class Told:
    at: float
    spare: bool  # it has a second tunnel, to a hub that is fit
    left: bool  # its traffic goes by that one now


class Guests:
    """The hosts that have their traffic here."""

    def __init__(self) -> None:
        self._told: dict[IPv4Address, Told] = {}

    def hear(self, now: float, address: IPv4Address, question: dict) -> None:
        """Take what a host says in a question. Hosts that say nothing of a spare are older, or have no agent."""
        if type(spare := question.get("spare")) is bool:
            self._told[address] = Told(now, spare, question.get("left") is True)

    def here(self, shown: str) -> list[IPv4Address]:
        """Return the hosts that have their traffic here.

        Args:
            shown: BIRD's routes to hosts of this hub; those that it prefers to other hubs' have a star.
        """
        preferred = {IPv4Address(address) for address in PREFERRED.findall(shown)}
        self._told = {address: told for address, told in self._told.items() if address in preferred}
        return [address for address in preferred if address not in self._told or not self._told[address].left]

    def stranded(self, now: float, hosts: Collection[IPv4Address]) -> int:
        """Return how many of these have nowhere to go at the moment."""
        told = [self._told[host] for host in hosts if host in self._told]
        return sum(not one.spare and now - one.at < FRESH_SECONDS for one in told)
