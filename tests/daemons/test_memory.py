"""What OpenVPN of a hub holds is cheap to fork: each hook is one, and no packet is carried meanwhile."""

import re
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.daemons.entering import Mesh, is_in, needs_openvpn, until
from tests.rendering import TOPOLOGY

pytestmark = needs_openvpn
LEFT_TO_PROGRAMS = Path("/sys/kernel/mm/transparent_hugepage/enabled")


@pytest.mark.skipif(
    not LEFT_TO_PROGRAMS.exists() or "[madvise]" not in LEFT_TO_PROGRAMS.read_text(),
    reason="this kernel does not leave huge pages to programs",
)
def test_a_hubs_openvpn_has_its_memory_in_huge_pages():
    place = Path(tempfile.mkdtemp(prefix="memory"))  # a socket's path must be short
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, place)
        mesh = Mesh(place, stack, TOPOLOGY.hubs[0])
        log = mesh.serve("udp")
        until(lambda: is_in(log), 15)
        client = mesh.connect("web-1", "udp")
        until(lambda: is_in(client), 15)
        maps = Path(f"/proc/{mesh.daemons['udp'].pid}/smaps").read_text()
        flags = re.search(r"\[heap\].*?^VmFlags: ([a-z ]+)$", maps, re.MULTILINE | re.DOTALL)[1]
        assert "hg" in flags.split(), "a fork with two thousand hosts would take 10 ms, not half of one"
