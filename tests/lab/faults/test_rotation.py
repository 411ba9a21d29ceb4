"""Keys take over from others while traffic goes on."""

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

pytestmark = [pytest.mark.lab, pytest.mark.alone]


def test_an_authority_takes_over_from_another_with_no_packet_lost(world):
    tree = world.tree

    def rotate():
        # Politely: this computer's two cores are the network as well.
        done = tree.run("nice", "-n19", "./scripts/rotate", "ca", "--stack", tree.stack)
        assert done.returncode == 0, f"exit code {done.returncode}: {done.stdout[-6000:]}{done.stderr[-2000:]}"

    done = world.measure("rotation: authority", rotate).check()
    assert sum(done.lost.values()) == 0, done
    world.agree()
    for name in (*world.hubs, *world.hosts):
        (trusted,) = x509.load_pem_x509_certificates(world.run(name, "cat /etc/vcubev/pki/ca.pem").encode())
        (common_name,) = trusted.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        assert common_name.value.endswith("authority 2"), f"{name} trusts {common_name.value}"
    assert tree.preview() == {} and tree.config()["vcubev:keys"] == {"authority": [2]}
