"""A packet filter that would lock the operator out, sent as the engine sends one."""

import asyncio
import re

from components.model.bundle import RUN_INSTALLER, pack
from components.model.files import FileSpec
from scripts.cli.inventory import Inventory
from scripts.cli.reach import Findings, Observer


def take_back(lab):
    """Send one to a hub and to a private host; see that each takes it back and lets sessions in as before."""
    cut = "}\nchain cut {\ntype filter hook input priority filter - 5; policy accept;\ntcp dport 22 drop\n"
    bundle = pack("service-cut", {"/etc/vcubev/services/cut.nft": FileSpec(cut)}, (), rolling=False)
    look = "sudo nft list tables; sudo nft list table inet vcubev; ls /etc/vcubev/services; systemctl list-timers"

    async def attempt():
        inventory, findings = Inventory.of(lab.outputs()), Findings()
        async with Observer(inventory) as observer:
            await observer.connect(findings)
            for name in ("oregon/a", "db-1"):
                ssh = observer.connections[name]
                done = await ssh.run(RUN_INSTALLER + "install", input=bundle, timeout=30)
                assert done.exit_status == 1 and "the old one is back" in done.stderr, done
                # By the session that was tried, and by a new one.
                # By the session that was tried, and by a new one below.
                seen = (await ssh.run(look, timeout=10)).stdout
                assert "chain members" in seen and not re.search("chain cut|cut.nft|trial|vcubev-filter", seen), seen
                await ssh.run("sudo rm /var/lib/vcubev/bundles/service-cut.unfinished", check=True)
            async with Observer(inventory) as again:
                await again.connect(findings)
        assert not findings.unreachable

    asyncio.run(attempt())
