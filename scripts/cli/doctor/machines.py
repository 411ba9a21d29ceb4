"""What is wrong with machines themselves: clock, disk, certificates, names, daemons, versions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from statistics import median

from cryptography import x509

from scripts.cli.doctor.examined import Examined, Trouble

CLOCK_SECONDS = 30  # SSH itself may take some; chrony holds a clock to milliseconds
WARN_DAYS = 30
SILENT = "does not answer"  # of a name server, as machine/examine.py says it
LEAST_FREE, LEAST_FREE_BYTES, LEAST_FREE_INODES = 0.05, 1 << 30, 0.03
PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----\n?", re.DOTALL)


def clocks(seen: Examined) -> Iterator[Trouble]:
    ahead = seen.ahead_seconds
    if not ahead:
        return
    common = median(ahead.values())
    # Of two, or one, nobody can say which is right; this computer is believed then.
    if len(ahead) > 2 and abs(common) > CLOCK_SECONDS:
        told = f"all machines agree that this computer's clock is {_apart(-common)} theirs"
        why = "certificates made here would not be valid yet, or not any more, on the machines"
        yield Trouble("clock", "this computer", told, why, ("timedatectl",))
    else:
        common = 0
    for machine, seconds in sorted(ahead.items()):
        if abs(seconds - common) > CLOCK_SECONDS:
            told = f"its clock is {_apart(seconds - common)} the others'"
            why = "by a wrong clock a certificate is not valid yet, or not any more: tunnels that end do not come back"
            cure = seen.on(machine, "sudo systemctl restart chrony && sudo chronyc waitsync 10 && chronyc tracking")
            yield Trouble("clock", machine, told, why, (cure,))


def _apart(seconds: float) -> str:
    return f"{abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'}"


def disks(seen: Examined) -> Iterator[Trouble]:
    for name, facts in sorted(seen.facts.items()):
        for disk in facts["disks"]:
            place, free, size = disk["place"], disk["free_bytes"], disk["size_bytes"]
            told = ""
            if disk["read_only"] and place in ("/", "/var", "/var/lib"):
                told = f"the disk of {place} can only be read"
            elif size and free < LEAST_FREE * size and free < LEAST_FREE_BYTES:
                told = f"the disk of {place} has {_size(free)} of {_size(size)} left"
            elif disk["inodes"] and disk["free_inodes"] < LEAST_FREE_INODES * disk["inodes"]:
                told = f"the disk of {place} has room for {disk['free_inodes']} files more"
            if told:
                why = "daemons and logs cannot write; a hub takes no new hosts, an `up` fails here"
                look = seen.on(name, f"sudo du -xh --max-depth=3 {place} | sort -h | tail -n 15")
                yield Trouble("disk", name, told, why, (look, seen.on(name, "sudo journalctl --vacuum-size=100M")))


def _size(count: int) -> str:
    return f"{count >> 20} MB" if count >= 1 << 20 else f"{count >> 10} kB"


def certificates(seen: Examined) -> Iterator[Trouble]:
    soon = seen.now + timedelta(days=WARN_DAYS)
    for name, facts in sorted(seen.facts.items()):
        for what, text in facts["pem"].items():
            for begin, end in _lives(text):
                if soon < end and begin <= seen.now:
                    continue
                state = "is not valid yet" if begin > seen.now else "has ended" if end <= seen.now else "ends soon"
                date = begin if begin > seen.now else end
                told = f"its {what} {state}: {date:%Y-%m-%d %H:%M} UTC"
                why = f"with an ended {what} tunnels that break do not come back"
                cures = {"certificate": (f"vcubev up {seen.stack}",)}.get(
                    what, (f"vcubev rotate ca --stack {seen.stack}",)
                )
                if what.startswith("revocation list"):
                    why = "by an ended list a hub lets nobody in"
                    cures = (seen.repair(name), *cures)
                yield Trouble("certificate", name, told, why, cures, f"{date:%Y-%m-%d}" if end <= seen.now else "")


def _lives(text: str) -> list[tuple[datetime, datetime]]:
    """Return from when until when what is in a PEM file is valid."""
    found = []
    for block in PEM.finditer(text):
        if block[1] == "CERTIFICATE":
            certificate = x509.load_pem_x509_certificate(block[0].encode())
            found.append((certificate.not_valid_before_utc, certificate.not_valid_after_utc))
        elif block[1] == "X509 CRL":
            known = x509.load_pem_x509_crl(block[0].encode())
            found.append((known.last_update_utc, known.next_update_utc or datetime.max.replace(tzinfo=UTC)))
    return found


def names(seen: Examined) -> Iterator[Trouble]:
    for name, facts in sorted(seen.facts.items()):
        servers = facts["resolvers"]
        # In the lab there is none to be named or asked, and a question ends at once. Only one that hangs is a trouble.
        given = seen.resolvers.get(name, True)
        bad = {server: what for server, what in servers.items() if what and (given or what == SILENT)}
        told = "; ".join(f"name server {server} {what}" for server, what in bad.items())
        if not servers and given:
            told = "/etc/resolv.conf names no server"
        if told:
            why = "packages are not found, and each look-up takes seconds"
            look = seen.on(name, "cat /etc/resolv.conf; resolvectl status; systemctl status systemd-resolved")
            yield Trouble("dns", name, told, why, (look, "put the resolver of the site's network (DHCP) right"))


def daemons(seen: Examined) -> Iterator[Trouble]:
    for name, facts in sorted(seen.facts.items()):
        for unit, state in sorted(facts["doors"].items()):
            if state != "running":
                why = "hosts come in by what else the hub has, or by other hubs only: the next fault may cut them off"
                look = seen.on(name, f"sudo journalctl -u {unit} -n 20")
                yield Trouble("daemon", name, f"{unit} does not run: {state}", why, (look, seen.repair(name)))


def versions(seen: Examined) -> Iterator[Trouble]:
    """Name the hubs that have other versions than most hubs."""
    hubs = {hub: seen.facts[hub] for hub in seen.inventory.hubs if hub in seen.facts}
    for package in sorted({package for facts in hubs.values() for package in facts["versions"]}):
        for hub, own, most in _odd({hub: facts["versions"].get(package, "none") for hub, facts in hubs.items()}):
            told = f"it has {package} {own}, other hubs {most}"
            cure = seen.on(hub, f"sudo apt-get update && sudo apt-get install --only-upgrade {package}")
            why = "hubs of different versions may understand each other and their hosts differently"
            yield Trouble("version", hub, told, why, (cure,))
    strays: dict[str, list[str]] = {}
    for file in sorted({file for facts in hubs.values() for file in facts["code"]}):
        for hub, _, _ in _odd({hub: facts["code"].get(file, "none") for hub, facts in hubs.items()}):
            strays.setdefault(hub, []).append(file)
    for hub, files in strays.items():
        told = f"its {', '.join(files)} {'is' if len(files) == 1 else 'are'} not what other hubs have"
        why = "it runs another version of this program, or a changed one"
        yield Trouble("version", hub, told, why, (seen.repair(hub),))


def _odd(values: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Return (who, what it has, what most have) for those that differ from most; of two that differ, for both."""
    counted = Counter(values.values()).most_common()
    if len(counted) < 2:
        return []
    tied = counted[0][1] == counted[1][1]
    others = " or ".join(sorted(value for value, count in counted if count == counted[0][1]))
    return [(who, value, others) for who, value in sorted(values.items()) if tied or value != counted[0][0]]
