"""The bench in which many hosts come to a hub at once: that it runs, with three."""

import os
import shutil

import pytest

from bench.storm_figures import one_round
from tests.daemons.entering import needs_openvpn

os.environ["PATH"] += ":/usr/sbin:/sbin"  # where Debian keeps its daemons, out of a plain user's PATH
pytestmark = [
    *needs_openvpn,
    pytest.mark.skipif(not all(map(shutil.which, ("fping", "bird", "nft"))), reason="a daemon is lacking"),
]


def test_hosts_come_at_once_and_claim_their_traffic_and_the_one_before_is_answered_meanwhile():
    found = one_round(3, seconds=1, probing=1, parts="once,claims")
    assert found["once"]["tries_in_vain"] == found["once"]["lost"] == found["claims"]["lost"] == 0
    assert 0 < found["once"]["slowest_seconds"] <= found["once"]["in_seconds"] < found["once"]["routed_seconds"]
    assert found["once"]["sent"] > 10 and found["claims"]["all_seconds"] > 0
