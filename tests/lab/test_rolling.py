"""Hubs that change while traffic goes on."""

import re
import shutil

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from tests.lab.operating import told
from tests.lab.pinging import EVERY_WAY, pings, settle
from tests.lab.worktree import WorkTree

# A computer that is busy with other tests loses packets by itself.
pytestmark = [pytest.mark.lab, pytest.mark.alone]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    tree = WorkTree(tmp_path_factory.mktemp("rolling"), "rolling")
    with tree.standing():
        yield tree


def test_a_changed_hub_configuration_rolls_from_hub_to_hub_with_no_packet_lost(lab):
    settle(lab)
    for site in ("oregon", "paris"):
        lab.edit(lambda config, site=site: config["vcubev:sites"][site]["hubs"]["a"].update(tcp_port=8443))
    with pings(lab, EVERY_WAY) as lost:
        done = lab.up()
    assert done.returncode == 0, told(done)
    assert lost == dict.fromkeys(EVERY_WAY, 0)


def test_hubs_of_another_image_replace_the_old_ones_in_turn_with_no_packet_lost(lab):
    images = lab.tree / "lab" / "images"
    shutil.copy(images / "debian-12.toml", images / "debian-12-again.toml")  # another name, the same bytes: no build
    for site in ("oregon", "paris"):
        lab.edit(lambda config, site=site: config["vcubev:sites"][site]["hubs"]["a"].update(image="debian-12-again"))
    settle(lab)
    before = lab.addresses()
    with pings(lab, EVERY_WAY) as lost:
        done = lab.up()
    assert done.returncode == 0, told(done)
    assert len(re.findall(r"lab:index:Machine rolling-\w+-a created replacement", done.stdout)) == 2, told(done)
    assert lost == dict.fromkeys(EVERY_WAY, 0)
    assert lab.addresses() == before


@pytest.mark.parametrize("whose", [("host", "web-1"), ("hub", "oregon/a"), ("ssh",)], ids=" ".join)
def test_a_key_takes_over_from_another_with_no_packet_lost(lab, whose):
    settle(lab)
    with pings(lab, EVERY_WAY) as lost:
        done = lab.script("rotate", *whose, "--stack", lab.stack)
    assert done.returncode == 0, told(done)
    assert lost == dict.fromkeys(EVERY_WAY, 0)
    assert lab.preview() == {}


def test_an_authority_takes_over_from_another_with_no_packet_lost(lab):
    settle(lab)
    with pings(lab, EVERY_WAY) as lost:
        # Politely: this computer's two cores are the network as well.
        done = lab.run("nice", "-n19", "./scripts/rotate", "ca", "--stack", lab.stack)
    assert done.returncode == 0, told(done)
    assert lost == dict.fromkeys(EVERY_WAY, 0)
    outputs = lab.outputs()
    for name in (*outputs["hubs"], *outputs["hosts"]):
        pem = lab.lab("exec", name.replace("/", "-"), "--", "cat", "/etc/vcubev/pki/ca.pem").stdout
        (trusted,) = x509.load_pem_x509_certificates(pem.encode())
        (common_name,) = trusted.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        assert common_name.value.endswith("authority 2"), f"{name} trusts {common_name.value}"
    assert lab.preview() == {} and lab.config()["vcubev:keys"]["authority"] == [2]
