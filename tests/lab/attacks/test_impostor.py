"""A machine that answers at a member's address and is not that member."""

from __future__ import annotations

import pytest

from tests.lab.attacks.attacker import Journal

pytestmark = pytest.mark.lab
HOST = "web-2"
KEY = "/etc/ssh/ssh_host_ed25519_key"
NEW_PORT = 9443


def test_up_sends_nothing_to_a_machine_whose_host_key_is_another(world):
    """And goes on with it when it is itself again. Another machine shows what would have been sent."""
    world.tree.edit(
        lambda config: config["vcubev:services"].update(
            {"late": {"on": "web", "ports": [f"{NEW_PORT}/tcp"], "from": ["db"]}}
        )
    )
    world.run(HOST, f"mkdir /root/right; mv {KEY}* /root/right; ssh-keygen -q -t ed25519 -N '' -f {KEY}")
    world.run(HOST, "systemctl restart ssh")
    journal = Journal(world, HOST, programs=("sshd",))
    try:
        done = world.tree.up()
        assert done.returncode == 1 and "is not the one in connection.hostKey; nothing was sent to it" in done.stdout
        told = journal.until("Connection (closed|reset) by|Disconnected from", 15)
        assert "Accepted" not in told
        files = {name: world.run(name, "cat /etc/vcubev/services/*.nft") for name in ("web-1", HOST)}
        assert str(NEW_PORT) in files["web-1"] and str(NEW_PORT) not in files[HOST]
    finally:
        world.run(HOST, "mv /root/right/* /etc/ssh/; rmdir /root/right; systemctl restart ssh")
    done = world.tree.up()
    assert done.returncode == 0, done.stdout[-3000:]
    assert "Accepted publickey" in journal.text()
    assert str(NEW_PORT) in world.run(HOST, "cat /etc/vcubev/services/*.nft")
