"""Many hosts' first packets at a hub at once, as after another hub's death: who comes next is not kept waiting."""

import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.daemons.entering import Mesh, is_in, needs_openvpn, until
from tests.rendering import TOPOLOGY

pytestmark = needs_openvpn
HOSTS = 500
HEAR = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
    own.bind(("127.0.0.1", int(sys.argv[1])))
    print("ready", flush=True)
    print(own.recv(2000).hex(), flush=True)
"""
PLAY = """
import socket, sys
for _ in range(int(sys.argv[3])):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.sendto(bytes.fromhex(sys.argv[2]), ("127.0.0.1", int(sys.argv[1])))
"""


def test_first_packets_of_many_hosts_keep_nobody_out():
    place = Path(tempfile.mkdtemp(prefix="first"))  # a socket's path must be short
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, place)
        mesh = Mesh(place, stack, TOPOLOGY.hubs[0])
        port = mesh.doors["udp"].port
        heard = mesh.start("heard", sys.executable, "-c", HEAR, port)
        until(lambda: "ready" in heard.read_text(), 5)
        mesh.connect("web-1", "udp")
        until(lambda: heard.read_text().count("\n") == 2, 5)
        mesh.daemons["web-1-udp-1"].kill()
        log = mesh.serve("udp")
        until(lambda: is_in(log), 15)
        played = mesh.run(sys.executable, "-c", PLAY, port, heard.read_text().split()[1], HOSTS)
        assert played.returncode == 0, played.stderr
        came = mesh.connect("web-2", "udp")
        until(lambda: is_in(came), 4)
        assert "connect-freq-initial" not in log.read_text(), "it answers nobody new for seconds"
