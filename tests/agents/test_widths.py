"""Which links between hubs may have large packets: those that go by a site's own network."""

import asyncio
import re
from types import SimpleNamespace

import pytest

from tests.agents.loading import load

sizes, widths = load("sizes"), load("widths")
CONFIG = {"ipv4": "10.100.0.1", "mtu_bytes": 1400, "jumbo_mtu_bytes": 8800}
HUBS = [
    {"id": number, "site": site, "ipv4": f"10.100.0.{number}"}
    for number, site in ((1, "oregon"), (2, "oregon"), (3, "paris"), (4, "oregon"))
]


def known(*inside):
    return SimpleNamespace(hubs=HUBS, inner={str(number): f"172.30.1.{number}" for number in inside})


def test_only_links_by_the_sites_own_network_are_asked_what_they_carry():
    beside = widths.Widths(CONFIG).beside
    assert beside(known(1, 2, 3)) == [(2, "172.30.1.2")]
    assert beside(known(2, 3, 4)) == [], "this one has no address inside: its links go from outside"
    assert beside(SimpleNamespace(hubs=[], inner={})) == []


@pytest.mark.parametrize("carried, set_to", [(8800, 8800), (1400, None), (None, None)])
def test_a_link_becomes_wide_when_that_is_known(monkeypatch, tmp_path, carried, set_to):
    (tmp_path / "link2").mkdir()
    (tmp_path / "link2" / "mtu").write_text("1400\n")
    done = []

    async def largest(address, sizes):
        return carried

    async def run(*command):
        done.append(" ".join(command))
        return SimpleNamespace(wait=lambda: asyncio.sleep(0))

    monkeypatch.setattr(sizes, "largest", largest)
    monkeypatch.setattr(widths, "NETWORK", tmp_path)
    monkeypatch.setattr(asyncio, "create_subprocess_exec", run)
    monkeypatch.setattr(widths, "LOOK_SECONDS", 0.01)
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(widths.Widths(CONFIG).follow(known(1, 2, 4)), 0.05))
    assert {re.sub(r"\D+", " ", line) for line in done} == ({f" 2 {set_to}"} if set_to else set()), "link4 is not there"
