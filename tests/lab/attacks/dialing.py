"""OpenVPN in an attacker's hands: dials hubs, or poses as one, with whatever credentials and options it is given."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.lab.attacks.forge import Credentials

UP = "Initialization Sequence Completed"
DECIDED = f"{UP}|AUTH_FAILED|Exiting|process exiting"
# What a host's client says, but that it gives up after one try, and that its end of the tunnel is no device.
DIALER = """client
dev null
ifconfig-noexec
route-noexec
connect-retry-max 1
connect-timeout 4
hand-window 6
tls-timeout 1
ping 1
ping-restart 4
auth-retry none
pull-filter ignore "redirect-gateway"
remote-cert-tls server
tun-mtu 1400
explicit-exit-notify 1
verb 4
"""
HOSTS_CHOICE = ("--tls-version-min", "1.3", "--data-ciphers", "AES-256-GCM:CHACHA20-POLY1305")
# Run in a machine's network namespace; dies with the machine.
Start = Callable[..., "subprocess.Popen[str]"]


@dataclass
class Dial:
    """One OpenVPN process of the attacker's. `port` tells it from others in a hub's log."""

    process: subprocess.Popen[str]
    log: Path
    port: int
    end: Callable[[str], object]  # takes the process's number in its machine: here there is only who waits for it

    def told(self) -> str:
        return self.log.read_text(errors="replace")

    def until(self, wanted: str, seconds: float = 10) -> str:
        """Wait for a line of its log that matches, or for its end; return the log."""
        deadline = time.monotonic() + seconds
        while not re.search(wanted, self.told()):
            if self.process.poll() is not None or time.monotonic() > deadline:
                break
            time.sleep(0.05)
        return self.told()

    @property
    def is_up(self) -> bool:
        return UP in self.told()

    def pushed(self) -> str | None:
        """Return the IPv4 address that the hub gave, None if it gave none."""
        found = re.search(r"PUSH_REPLY.*,ifconfig ([\d.]+) ", self.told())
        return found[1] if found else None

    def stop(self) -> None:
        """End it as its owner would, and wait for that."""
        if self.process.poll() is None:
            self.end(self.log.with_name("pid").read_text().strip())
            self.process.wait(8)


class Dialer:
    """Starts such processes from one place and ends them all."""

    def __init__(self, start: Start, root: Path, first_port: int = 40_000) -> None:
        """Prepare.

        Args:
            start: Starts a command there; takes Popen's options.
            root: What "/" is there, as seen from here.
        """
        self._start, self._root, self._port = start, root, first_port
        self.dials: list[Dial] = []

    def dial(
        self,
        endpoint: tuple[str, int],
        credentials: Credentials,
        *options: str,
        transport: str = "udp4",
        choice: tuple[str, ...] = HOSTS_CHOICE,
    ) -> Dial:
        """Start a client towards a hub's door."""
        address, port = endpoint
        proto = "tcp4-client" if transport == "tcp" else transport
        remote = ("--proto", proto, "--remote", address, str(port), "--lport", str(self._port + 1))
        return self._run(DIALER, credentials, "--tls-crypt-v2", (*remote, *choice, *options))

    def listen(self, config: str, credentials: Credentials, *options: str, channel: str = "--tls-crypt-v2") -> Dial:
        """Start what takes such a configuration: a server, or one end of a link."""
        return self._run(config, credentials, channel, options)

    def run(self, config: str) -> Dial:
        """Start with nothing but a configuration."""
        return self._start_in(self._directory({"config": config}), "--config", "config")

    def _run(self, config: str, credentials: Credentials, channel: str, options: tuple[str, ...]) -> Dial:
        texts = {"config": config, "ca": credentials.ca, "channel": credentials.channel}
        texts |= {"cert": credentials.certificate, "key": credentials.key}
        inside = self._directory({name: text for name, text in texts.items() if text is not None})
        shown = ("--cert", "cert", "--key", "key") if credentials.key else ()
        return self._start_in(inside, "--config", "config", "--ca", "ca", channel, "channel", *shown, *options)

    def _directory(self, texts: dict[str, str]) -> Path:
        self._port += 1
        inside = Path("/root") / f"attack-{self._port}"
        outside = Path(f"{self._root}{inside}")
        outside.mkdir(mode=0o700)
        for name, text in texts.items():
            (outside / name).write_text(text)
            (outside / name).chmod(0o600)
        return inside

    def _start_in(self, inside: Path, *words: str) -> Dial:
        log = Path(f"{self._root}{inside}") / "log"
        with log.open("w") as out:
            quiet = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": out}
            process = self._start("openvpn", "--cd", str(inside), "--writepid", "pid", *words, **quiet)
        self.dials.append(Dial(process, log, self._port, lambda number: self._start("kill", number).wait()))
        return self.dials[-1]

    def stop(self) -> None:
        for dial in self.dials:
            dial.stop()
            # Stolen keys lie about no longer than they are used.
            for name in ("key", "channel"):
                dial.log.with_name(name).unlink(missing_ok=True)
        self.dials.clear()
