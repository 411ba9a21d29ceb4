"""The ledger of certificates: who is revoked, and what must never happen to it from run to run."""

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hypothesis import given
from hypothesis import strategies as st

from components.model.crl import revocation_list
from components.model.keys import FIRST
from components.model.revocation import CLOCK_MARGIN, Issued, Ledger, Revoked, issued_in, ledger_in
from tests.components import certificates

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
NAMES = ("host.web-1", "host.web-2", "hub.oregon.a", "hub.oregon.b")

moments = st.integers(-100, 400).map(lambda days: NOW + timedelta(days=days))
certificates_of = st.builds(
    Issued,
    serial=st.integers(1, (1 << 128) - 1),
    name=st.sampled_from(NAMES),
    until=moments,
    generation=st.integers(1, 3),
)


@st.composite
def histories(draw):
    """Certificates with numbers of their own, some revoked."""
    drawn = draw(st.lists(certificates_of, max_size=12, unique_by=lambda one: one.serial))
    cut = draw(st.integers(0, len(drawn)))
    revoked = frozenset(Revoked(one.serial, one.name, one.until, NOW) for one in drawn[:cut])
    return Ledger(frozenset(drawn[cut:]), revoked, draw(st.integers(0, 1000)))


members_of = st.dictionaries(
    st.sampled_from(NAMES), st.lists(st.integers(1, 3), min_size=1, max_size=2, unique=True).map(tuple)
)
lists_of = st.frozensets(st.sampled_from(NAMES))


def serials(entries):
    return {one.serial for one in entries}


@given(histories(), members_of, lists_of)
def test_every_certificate_of_who_is_no_member_or_on_the_list_is_revoked_and_no_other(ledger, members, listed):
    after = ledger.judged(members, listed, NOW)
    for one in after.live:
        assert one.name not in listed and one.generation in members[one.name]
    fresh = after.revoked - ledger.revoked
    assert all(one.name in listed or one.name not in members or len(members[one.name]) < 3 for one in fresh)
    assert serials(after.live) | serials(after.revoked) <= serials(ledger.live) | serials(ledger.revoked)
    lost = serials(ledger.live) - serials(after.live) - serials(after.revoked)
    ends = {one.serial: one.until for one in ledger.live}
    assert all(ends[serial] + CLOCK_MARGIN < NOW for serial in lost), "only what has expired is forgotten"


@given(histories(), members_of, lists_of, members_of, lists_of)
def test_revoked_is_for_good_whatever_the_stack_file_says_later(ledger, members, listed, later_members, later_listed):
    once = ledger.judged(members, listed, NOW)
    twice = once.judged(later_members, later_listed, NOW + timedelta(days=1))
    kept = {one for one in once.revoked if one.until + CLOCK_MARGIN >= NOW + timedelta(days=1)}
    assert kept <= twice.revoked, "with the day on which it was revoked, too"
    readded = twice.with_issued(Issued(one.serial, one.name, one.until) for one in once.revoked)
    assert not serials(readded.live) & serials(twice.revoked)


@given(histories(), members_of, lists_of)
def test_a_second_look_changes_nothing(ledger, members, listed):
    once = ledger.judged(members, listed, NOW)
    assert once.judged(members, listed, NOW + timedelta(milliseconds=900)) == once


@given(histories(), members_of, lists_of)
def test_the_number_grows_if_and_only_if_the_list_changes(ledger, members, listed):
    after = ledger.judged(members, listed, NOW)
    assert after.number == ledger.number + (after.revoked != ledger.revoked)


@given(histories(), members_of, lists_of, certificates_of)
def test_a_member_more_revokes_nobody_and_saves_nobody(ledger, members, listed, newcomer):
    newcomer = Issued(newcomer.serial, "host.new", newcomer.until, FIRST[0])
    without = ledger.judged(members, listed, NOW)
    with_it = ledger.judged({**members, "host.new": FIRST}, listed, NOW)
    assert without == with_it


@given(histories())
def test_it_comes_back_from_the_state_as_it_was_put_there(ledger):
    assert Ledger.of(ledger.written()) == ledger
    urn = "urn:pulumi:s::p::vcubev:index:Mesh$vcubev:index:Revocations::m-ca-revocations"
    state = {urn: {"type": "vcubev:index:Revocations", "outputs": ledger.written()}}
    assert ledger_in(state, "vcubev:index:Revocations::m-ca-revocations") == ledger
    assert ledger_in(state, "vcubev:index:Revocations::other-ca-revocations") == Ledger()


def test_a_serial_number_on_the_list_is_revoked_alone():
    one, other = (Issued(serial, "host.web-1", NOW, 1) for serial in (17, 18))
    after = Ledger(frozenset({one, other})).judged({"host.web-1": (1,)}, {"17"}, NOW)
    assert serials(after.revoked) == {17} and serials(after.live) == {18}


def made(name, generation=1, issuer="m-ca authority"):
    """Return a resource of the engine's state: URN and fields."""
    ca = certificates.key("ca", "5" * 64)["privateKeyPem"]
    own = certificates.key(name, f"{len(name) % 10}" * 64)["privateKeyPem"]
    signed = certificates.self_signed(
        {"subject": {"commonName": issuer}, "privateKeyPem": ca, "validityPeriodHours": 1000}, "7" * 64
    )["certPem"]
    request = certificates.request({"subject": {"commonName": name}, "privateKeyPem": own})
    inputs = {**request, "caCertPem": signed, "caPrivateKeyPem": ca, "validityPeriodHours": 10}
    outputs = certificates.locally_signed(inputs, f"{generation}" * 64)
    suffix = "" if generation == 1 else f"-{generation}"
    urn = f"urn:pulumi:s::p::x$tls:index/locallySignedCert:LocallySignedCert::m-{name}-cert{suffix}"
    return urn, {"type": "tls:index/locallySignedCert:LocallySignedCert", "outputs": outputs}


def test_certificates_are_found_in_the_state_with_the_generation_of_their_key():
    state = dict(
        [made("host.web-1"), made("host.web-1", 2), made("host.cert-3"), made("host.x", issuer="other-ca authority")]
    )
    state |= dict([made("host.y", issuer="m-ca authority 2"), made("host.z", issuer="m-ca authority of others")])
    state["urn:k"] = {"type": "tls:index/privateKey:PrivateKey", "outputs": {"privateKeyPem": "SECRET"}}
    found = {(one.name, one.generation) for one in issued_in(state, "m-ca authority")}
    assert found == {("host.web-1", 1), ("host.web-1", 2), ("host.cert-3", 1), ("host.y", 1)}


@given(st.lists(certificates_of, max_size=5, unique_by=lambda one: one.serial), st.integers(0, 5000))
def test_a_list_is_the_same_bytes_each_time_and_good_for_its_authority(drawn, number):
    key = certificates.key("ca", "5" * 64)["privateKeyPem"]
    inputs = {"subject": {"commonName": "m-ca authority"}, "privateKeyPem": key, "validityPeriodHours": 87_600}
    ca = certificates.self_signed(inputs, "7" * 64)["certPem"]
    revoked = [Revoked(one.serial, one.name, one.until, NOW) for one in drawn]
    pem = revocation_list(ca, key, revoked, number)
    assert pem == revocation_list(ca, key, reversed(revoked), number), "each `up` would change every hub"
    crl, authority = x509.load_pem_x509_crl(pem.encode()), x509.load_pem_x509_certificate(ca.encode())
    assert crl.is_signature_valid(load_pem_private_key(key.encode(), None).public_key())
    assert {one.serial_number for one in crl} == serials(drawn)
    assert crl.last_update_utc == authority.not_valid_before_utc + timedelta(seconds=number)
    assert crl.next_update_utc == authority.not_valid_after_utc
