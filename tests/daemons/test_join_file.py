"""The file of `vcubev join-bundle` with a real OpenVPN, which meets one that is configured as a hub's."""

import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from components.model import render, tlscrypt
from components.model.joining import join_file
from components.model.stackfile import load
from tests.components.declared import lab_values

pytestmark = pytest.mark.skipif(not shutil.which("openvpn"), reason="openvpn is not installed")
NOW = datetime.now(UTC).replace(microsecond=0)
# What belongs to the machine around it: devices made beforehand, hooks, management.
OF_THE_MACHINE = "ifconfig-noexec|script-security|client-|tmp-dir|management|txqueuelen|crl-verify|ca |cert |x509-track"


def pem(key):
    forms = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return key.private_bytes(*forms).decode()


def signed(key, name, signer, usage=None):
    def subject(text):
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    made = x509.CertificateBuilder(
        subject("authority"), subject(name), key.public_key(), x509.random_serial_number(), NOW - timedelta(days=1),
        NOW + timedelta(days=1),
    )  # fmt: skip
    made = made.add_extension(x509.BasicConstraints(usage is None, None), critical=True)
    bits = dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False)
    bits |= {"digital_signature": True, "key_cert_sign": usage is None, "crl_sign": usage is None}
    made = made.add_extension(x509.KeyUsage(**bits, encipher_only=False, decipher_only=False), critical=True)
    if usage:
        made = made.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    return made.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


@pytest.fixture(scope="module")
def joined(tmp_path_factory):
    """Run hub and laptop in a network namespace of their own; return what the laptop's OpenVPN and kernel say."""
    where = tmp_path_factory.mktemp("join")
    values = lab_values()
    values["sites"]["paris"]["hosts"]["laptop-1"] = {"role": "web", "id": 9, "unmanaged": True}
    topology = load(values, {"lab"})
    laptop = next(host for host in topology.hosts if host.unmanaged)
    hub = next(hub for hub in topology.hubs if hub.site == "paris")
    keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("ca", "hub", "laptop")}
    authority = signed(keys["ca"], "authority", keys["ca"])
    own = signed(keys["laptop"], laptop.common_name, keys["ca"], ExtendedKeyUsageOID.CLIENT_AUTH)
    channel = tlscrypt.v2_client_key("the channel's secret", pem(keys["laptop"]))
    (where / "laptop.ovpn").write_text(
        join_file(topology, laptop, {hub.key: "127.0.0.1"}, authority, own, pem(keys["laptop"]), channel)
    )
    (where / "ca.pem").write_text(authority)
    (where / "hub.pem").write_text(signed(keys["hub"], hub.common_name, keys["ca"], ExtendedKeyUsageOID.SERVER_AUTH))
    (where / "hub.key").write_text(pem(keys["hub"]))
    (where / "channel.key").write_text(tlscrypt.v2_server_key("the channel's secret"))
    config = render.hub_files(hub, topology.overlay, "127.0.0.1")["/etc/vcubev/hosts-udp.conf"].content
    kept = [line for line in config.splitlines() if not re.match(OF_THE_MACHINE, line)]
    # As the client-connect hook answers.
    answer = (
        f"ifconfig-push {laptop.address.ipv4} {topology.overlay.ipv4.netmask}\n"
        f"ifconfig-ipv6-push {laptop.address.ipv6}/64 {laptop.address.ipv6}\n"
    )
    (where / "hosts").mkdir()
    (where / "hosts" / laptop.common_name).write_text(answer)
    pki = ["ca ca.pem", "cert hub.pem", "key hub.key", "tls-crypt-v2 channel.key force-cookie"]
    (where / "hub.conf").write_text("\n".join([*kept, *pki, "client-config-dir hosts", ""]))
    script = """
ip link set lo up
openvpn --config hub.conf >hub.log 2>&1 & hub=$!
openvpn --config laptop.ovpn >laptop.log 2>&1 & laptop=$!
for i in $(seq 100); do grep -q 'Initialization Sequence Completed' laptop.log && break; sleep 0.1; done
ip -o address show dev tun0; ip route show dev tun0; ip -6 route show dev tun0
kill $laptop $hub
wait
"""
    command = ["unshare", "--user", "--map-root-user", "--net", "sh", "-c", script]
    shown = subprocess.run(command, cwd=where, capture_output=True, text=True, timeout=60).stdout
    return shown, (where / "laptop.log").read_text(), (where / "hub.log").read_text(), topology, laptop


def test_the_hub_lets_the_laptop_in_and_no_option_is_warned_about(joined):
    _, laptop, hub, *_ = joined
    assert "Initialization Sequence Completed" in laptop, laptop + hub
    assert not re.search("WARNING|DEPRECATED|ignored", laptop), laptop


def test_the_laptop_has_its_own_address_and_the_way_to_the_whole_overlay(joined):
    shown, _, _, topology, laptop = joined
    assert f"inet {laptop.address.ipv4}/{topology.overlay.ipv4.prefixlen} " in shown, shown
    assert f"inet6 {laptop.address.ipv6}/64" in shown
    assert str(topology.overlay.ipv4) in shown and str(topology.overlay.ipv6) in shown
