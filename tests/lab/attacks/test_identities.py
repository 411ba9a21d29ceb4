"""Who is let in: the right certificate for the right role and address, and nobody else.

All that dials here has a valid key of the outer channel (tls-crypt-v2) unless it says otherwise: what an attacker has
who stole one host's disk. Each case differs from the rightful one in one thing, and all are tried at once.

"A CSR that asks for another's address" is no attack here: keys and requests are made by the program, and no machine's
word is ever signed. tests/components/test_signing.py holds that. Two machines with one certificate:
tests/lab/faults/test_machine_troubles.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.agents.loading import load
from tests.lab.attacks.attacker import HOSTS_UDP, HUB, PORT, TCP_PORT, Journal, dialer, root_of, underlay
from tests.lab.attacks.dialing import DECIDED, UP
from tests.lab.attacks.forge import SERVER, SPARE_ADDRESS, Credentials, Forge

pytestmark = pytest.mark.lab
tunnels = load("tunnels")
OWN = "its own"
OLD_TLS = ("--tls-version-min", "1.2", "--tls-version-max", "1.2")


def cipher(name: str) -> tuple[str, ...]:
    return "--tls-version-min", "1.3", "--data-ciphers", name, "--data-ciphers-fallback", name


@dataclass(frozen=True)
class Case:
    """What an attacker shows to a hub, and the hub's word for it; `{name}` is the certificate's name."""

    credentials: Callable[[Forge, str, str], Credentials]  # of a name and an address that nobody else has
    refusal: str
    choice: tuple[str, ...] | None = None
    options: tuple[str, ...] = ()


def addressed(address: str | None, **how: object) -> Callable[[Forge, str, str], Credentials]:
    return lambda forge, name, own: forge.signed(name, address and address.replace(OWN, own), **how)


REFUSED_BY_HOOK = "refused {name}: "
CASES = {
    "another CA's certificate": Case(addressed(OWN, by_other_ca=True), "error=certificate signature failure"),
    "a hub's own certificate": Case(
        lambda forge, name, own: forge.stolen("attacks-paris-a"),
        r"refused hub\.paris\.a: .* is in the block of the hubs",
    ),
    "a certificate for servers": Case(
        addressed(OWN, uses=SERVER[:1]), "error=unsuitable certificate purpose: CN={name}"
    ),
    "no certificate": Case(
        lambda forge, name, own: forge.rightful(name, own).without_certificate(),
        "peer did not return a certificate",
        options=("--auth-user-pass", "/root/login"),
    ),
    "an expired certificate": Case(addressed(OWN, age_days=3), "error=certificate has expired: CN={name}"),
    "a certificate of tomorrow": Case(addressed(OWN, age_days=-3), "error=certificate is not yet valid: CN={name}"),
    "no address": Case(addressed(None), REFUSED_BY_HOOK + "no address in its certificate"),
    "an address that is a command": Case(addressed(f"{OWN};reboot"), REFUSED_BY_HOOK + ".*is no address"),
    "an address with an option": Case(
        addressed(f"{OWN}\nifconfig-push 10.100.1.2 255.255.0.0"), REFUSED_BY_HOOK + ".*is no address"
    ),
    "an octal address": Case(addressed("10.100.1.077"), REFUSED_BY_HOOK + ".*is no address"),
    "an address outside the overlay": Case(addressed("192.0.2.1"), REFUSED_BY_HOOK + ".*is not in the overlay"),
    "a hub's address": Case(addressed("10.100.0.1"), REFUSED_BY_HOOK + ".*is in the block of the hubs"),
    "a network's own address": Case(addressed("10.100.1.0"), REFUSED_BY_HOOK + ".*is no member's address"),
    "another host's address": Case(
        addressed("10.100.1.1"), REFUSED_BY_HOOK + r"10\.100\.1\.1 belongs to host\.web-1, which is connected"
    ),
    "another host's address, once more": Case(
        addressed("10.100.1.2"), REFUSED_BY_HOOK + r"10\.100\.1\.2 belongs to host\.web-2, which is connected"
    ),
    "TLS 1.2": Case(Forge.rightful, "unsupported protocol", OLD_TLS),
    "half the key length": Case(Forge.rightful, "No common cipher .* 'AES-128-GCM'", cipher("AES-128-GCM")),
    "a cipher without authentication": Case(Forge.rightful, "No common cipher .* 'AES-256-CBC'", cipher("AES-256-CBC")),
    "no cipher": Case(Forge.rightful, "No common cipher .* 'none'", cipher("none")),
    "another mesh's outer key": Case(
        lambda forge, name, own: forge.rightful(name, own).with_channel(forge.wrapped_elsewhere()),
        "can not extract tls-crypt-v2 client key",
    ),
}


@pytest.fixture(scope="module")
def tries(mesh, stranger, forge):
    """Every case's end: name -> (its process, the hub's lines about it)."""
    mesh.settle()
    (root_of(mesh, stranger.name) / "root/login").write_text("user\npassword\n")
    journal = Journal(mesh, HUB, HOSTS_UDP)
    door = underlay(mesh, HUB), PORT
    names = {title: f"host.attack-{number}" for number, title in enumerate(CASES)}
    dials = {}
    for title, case in CASES.items():
        options = {"choice": case.choice} if case.choice else {}
        shown = case.credentials(forge, names[title], f"10.100.1.{100 + len(dials)}")
        dials[title] = stranger.dialer.dial(door, shown, *case.options, **options)
    again = names["another host's address, once more"]
    for title, dial in dials.items():
        dial.until(DECIDED)
        if title == "another host's address, once more":  # a refusal must not make room for the next try
            dials[title] = stranger.dialer.dial(door, CASES[title].credentials(forge, again, ""))
    dials["another host's address, once more"].until(DECIDED)
    log = journal.text()
    told = {}
    for title, dial in dials.items():
        named = rf"(?::{dial.port}\b|{re.escape(names[title])}\b|hub\.paris\.a\b)"
        told[title] = [line for line in log.splitlines() if re.search(named, line)]
    yield {title: (dial, names[title], told[title]) for title, dial in dials.items()}
    stranger.dialer.stop()


@pytest.mark.parametrize("title", CASES)
def test_a_hub_lets_nobody_in_who_shows(tries, title):
    dial, name, told = tries[title]
    assert not dial.is_up and dial.pushed() is None, dial.told()[-2000:]
    refusal = CASES[title].refusal.replace("{name}", re.escape(name))
    assert any(re.search(refusal, line) for line in told), f"no {refusal!r} in:\n" + "\n".join(told[-30:])


@pytest.mark.parametrize("transport, port", [("udp4", PORT), ("tcp", TCP_PORT)])
def test_the_rightful_credentials_that_all_those_differ_from_are_let_in(tries, world, stranger, forge, transport, port):
    dial = stranger.dialer.dial((underlay(world, HUB), port), forge.rightful("host.rightful"), transport=transport)
    try:
        assert UP in dial.until(DECIDED), dial.told()[-2000:]
        assert dial.pushed() == SPARE_ADDRESS
    finally:
        stranger.dialer.stop()


def test_nobody_of_them_moved_the_owner_of_the_address_that_they_wanted(tries, world):
    assert world.reaches("web-2", "db-1") and world.reaches("db-2", "web-1")


POSER = """mode server
tls-server
proto udp4
dev fake
dev-type tun
topology subnet
ifconfig-noexec
ifconfig 10.100.0.1 255.255.0.0
push "topology subnet"
dh none
tls-version-min 1.3
data-ciphers AES-256-GCM
duplicate-cn
verb 4
"""
FAKES = {
    "a host's certificate": (lambda forge: forge.stolen("attacks-web-2"), "error=unsuitable certificate purpose"),
    "a host's certificate with the hub's name": (
        lambda forge: forge.signed("hub.oregon.a", "10.100.0.1"),
        "error=unsuitable certificate purpose",
    ),
    "another CA's certificate": (
        lambda forge: forge.signed("hub.oregon.a", "10.100.0.1", SERVER, by_other_ca=True),
        "error=certificate signature failure",
    ),
    "another hub's certificate": (
        lambda forge: forge.stolen("attacks-paris-a"),
        r"VERIFY X509NAME ERROR: .*CN=hub\.paris\.a.* must be hub\.oregon\.a",
    ),
    "that hub's own certificate": (lambda forge: forge.stolen("attacks-oregon-a"), None),
}


def test_a_host_takes_no_machine_for_its_hub_that_has_not_that_hubs_certificate(world, stranger, forge, request):
    """The impostor even has the hubs' outer key, which no host has. The last one shows that all else is right."""
    client = dialer(world, "web-1")
    request.addfinalizer(client.stop)
    request.addfinalizer(stranger.dialer.stop)
    tries = {}
    for number, (title, (credentials, _)) in enumerate(FAKES.items()):
        port = 20_000 + number  # where the firewall lets in
        shown = credentials(forge).with_channel(forge.hubs_channel())
        config = POSER.replace("dev fake", f"dev fake{number}")
        fake = stranger.dialer.listen(config, shown, "--port", str(port))
        assert UP in fake.until(UP), fake.told()
        hub = tunnels.Hub(1, "oregon", "a", "10.100.0.1", stranger.address, port, 443)
        # As the host's agent starts its tunnels, with the host's own files.
        lines = "\n".join(tunnels.tunnel_lines(10 + number, hub, "udp"))
        pki = "/etc/vcubev/pki"
        tries[title] = client.run(
            f"config /etc/vcubev/path.conf\n{lines}\nkey {pki}/key.pem\ntls-crypt-v2 {pki}/tls-crypt-v2.key\nverb 4\n"
        )
    for title, (_, refusal) in FAKES.items():
        told = tries[title].until(f"{UP}|VERIFY .*ERROR|SIGUSR1")
        if refusal is None:
            assert UP in told, told[-2000:]
        else:
            assert re.search(refusal, told) and UP not in told, told[-2000:]


# What the rightful daemon looks at in its peer; an impostor takes whom it can get.
WHO_IS_TRUSTED = ("ca ", "cert ", "crl-verify ", "tls-verify ", "script-security ")


def test_a_hub_takes_no_host_for_the_hub_at_the_other_end_of_a_link(world, forge, request):
    """At that hub's own address and port, with the links' outer key. That hub's own certificate is taken again."""
    impostor = dialer(world, "paris/a")
    journal = Journal(world, HUB, "vcubev-link@2")
    world.run("paris/a", "systemctl stop vcubev-link@1")
    request.addfinalizer(lambda: world.run("paris/a", "systemctl start vcubev-link@1"))
    request.addfinalizer(impostor.stop)
    config = (root_of(world, "paris/a") / "etc/vcubev/links/1.conf").read_text().replace("dev link1", "dev fake1")
    mine = forge.stolen("attacks-web-2")
    kept = [line for line in config.splitlines() if not line.startswith(WHO_IS_TRUSTED)]
    dial = impostor.listen("\n".join(kept), mine.with_channel(forge.link_channel()), channel="--tls-crypt")
    journal.until(r"VERIFY (X509NAME|EKU) ERROR|error=unsuitable certificate purpose: CN=host\.web-2")
    assert not dial.is_up
    impostor.stop()
    world.run("paris/a", "systemctl start vcubev-link@1")
    journal.until(UP, 15)
    assert r"VERIFY OK: depth=0, CN=hub.paris.a" in journal.text().replace("O=vcubev, ", "")
