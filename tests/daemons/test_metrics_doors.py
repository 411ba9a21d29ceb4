"""Metrics are for those whom the stack file names, and the rest of the packet filter stays what it is: real packets."""

import os
import shutil

import pytest

from components.model.policy import METRICS_PORT
from tests.daemons.doors import CLIENTS, OTHER_PORT
from tests.daemons.routed import seen_apart

os.environ["PATH"] += ":/usr/sbin:/sbin"  # where Debian keeps `ip` and `nft`, out of a plain user's PATH
lacking = [program for program in ("nft", "unshare", "ip") if shutil.which(program) is None]
pytestmark = pytest.mark.skipif(bool(lacking), reason=f"not installed: {', '.join(lacking)}")


@pytest.fixture(scope="module")
def reached(tmp_path_factory):
    return seen_apart("tests.daemons.doors", str(tmp_path_factory.mktemp("doors")))


@pytest.mark.parametrize("device", ["path1", "hosts-udp", "link2"])
@pytest.mark.parametrize("policy", ["open", "closed"])
@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_who_is_named_comes_in_and_nobody_else(reached, device, policy, client, family):
    found = reached[f"{policy} {device}"]
    assert found[f"{client} {family} {METRICS_PORT}"] is (client == "db")
    # What was open before is open, and what was closed is closed: a hub's own ports always are.
    assert found[f"{client} {family} {OTHER_PORT}"] is (policy == "open" and device == "path1")
