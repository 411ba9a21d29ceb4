"""What agents tell, to people and to Prometheus: moves and outages, the filter's counters, ends, links."""

import asyncio
import json
import re
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from tests.agents.loading import load

telling, metrics, counters = load("telling"), load("metrics"), load("counters")
choice, tunnels, sessions, validity = load("choice"), load("tunnels"), load("sessions"), load("validity")
OREGON = tunnels.Hub(1, "oregon", "a", "10.100.0.1", "203.0.113.1", 1194, 443)
PARIS = tunnels.Hub(2, "paris", "a", "10.100.0.2", "203.0.113.2", 1194, 443)
SAMPLE = re.compile(r'([a-z_]+)(\{[a-z]+="[^"\\]*"(,[a-z]+="[^"\\]*")*\})? (-?[0-9.e+-]+)')


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A host whose traffic goes by path 1, and what it tells."""
    monkeypatch.setattr(telling.time, "time", lambda: 1_700_000_000.0)
    made = choice.Choice("web-1", "oregon")
    made.know([OREGON, PARIS])
    for number, hub in ((1, OREGON), (2, PARIS)):
        made.paths[number].open(0.0, hub, "udp")
        for tick in range(1, 40):
            made.heard(tick / 10, number, tick, 0.012 * number, True)
    made.active = 1
    made.survey = {1: tunnels.Seen(0.0119), 2: tunnels.Seen(None), 7: tunnels.Seen(0.5)}
    teller = telling.Telling(tmp_path)
    teller.moved(made.paths[2], made.paths[1], "first")
    teller.confirmed(0.1)

    def write(now=4.0):
        teller.write(now, made, True, 4, False)
        page = (tmp_path / "vcubev.prom").read_text()
        return json.loads((tmp_path / "state.json").read_text()), page

    return made, teller, write


def samples(page):
    """Return name with labels -> value, of a page that Prometheus would take."""
    found = {}
    for line in page.splitlines():
        if not line.startswith("#"):
            match = SAMPLE.fullmatch(line)
            assert match, f"no sample: {line}"
            assert f"# TYPE {match[1]} " in page and f"# HELP {match[1]} " in page, line
            found[line.rpartition(" ")[0]] = float(match[4])
    return found


def test_where_a_hosts_traffic_goes_is_told_with_what_the_probes_measured(host):
    state, page = host[2]()
    assert state["since"] == 1_700_000_000 and state["moves"] == {} and state["last_move"] is None
    assert state["hubs"] == {"oregon/a": {"rtt_ms": 11.9, "fit": True}, "paris/a": {"rtt_ms": None, "fit": True}}
    found = samples(page)
    assert found['vcubev_path_active{hub="oregon/a",path="1",transport="udp"}'] == 1
    assert found['vcubev_path_rtt_seconds{hub="paris/a",path="2",transport="udp"}'] == 0.024
    assert found['vcubev_hub_rtt_seconds{hub="oregon/a"}'] == 0.0119
    assert not any("vcubev_hub_rtt" in name and "paris" in name for name in found), "no answer is no round trip of 0"
    assert found['vcubev_failovers_total{reason="silent"}'] == 0, "a counter that begins at 1 shows no increase"


def test_a_fail_over_is_told_with_its_outage_once_the_new_hub_has_confirmed(host):
    made, teller, write = host
    teller.moved(made.paths[1], made.paths[2], "silent")  # its last answer came at 3.9
    move = {"at": 1_700_000_000.0, "from": "oregon/a", "to": "paris/a", "reason": "silent"}
    assert write()[0]["last_move"] == {**move, "outage_ms": None}
    teller.confirmed(4.25)
    teller.confirmed(9.0)  # the next claims say nothing new
    state, page = write(20.0)
    assert state["last_move"] == {**move, "outage_ms": 350} and state["moves"] == {"silent": 1}
    assert samples(page)["vcubev_last_outage_seconds"] == 0.35


@pytest.mark.parametrize("reason", ["better", "not fit", "renewed"])
def test_a_move_with_both_tunnels_up_has_no_outage(host, reason):
    made, teller, write = host
    teller.moved(made.paths[1], made.paths[2], reason)
    teller.confirmed(4.25)
    state, page = write()
    assert state["last_move"]["outage_ms"] is None and "last_outage" not in page
    assert samples(page)[f'vcubev_failovers_total{{reason="{reason}"}}'] == 1


def test_an_agent_that_starts_again_remembers_moves(host, tmp_path):
    made, teller, write = host
    teller.moved(made.paths[1], made.paths[2], "lossy")
    again = telling.Telling(tmp_path)
    again.adopt(write()[0])
    assert (again.moves, again.last_move["reason"], again.since) == ({"lossy": 1}, "lossy", 1_700_000_000)


def test_the_page_is_written_anew_though_nothing_changes_and_never_in_halves(host, tmp_path):
    write = host[2]
    write(4.0)
    (tmp_path / "vcubev.prom").unlink()
    with pytest.raises(FileNotFoundError):
        write(4.1)
    write(4.0 + metrics.WRITE_SECONDS)
    assert not list(tmp_path.glob("*.new"))


def test_a_full_disk_stops_no_agent(host, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(metrics.pathlib.Path, "write_text", full)
    made, teller, _ = host
    teller.write(4.0, made, True, 4, False)
    monkeypatch.undo()
    assert host[2](4.0 + metrics.WRITE_SECONDS)[0]["number"] == 4, "what found no room is written once there is some"


def test_labels_cannot_end_a_line_or_a_label():
    line = metrics.sample("vcubev_hub_rtt_seconds", 1.0, hub='a"} 1\nvcubev_hub_fit 1 \\')
    assert line == r'vcubev_hub_rtt_seconds{hub="a\"} 1\nvcubev_hub_fit 1 \\"} 1.0'


def test_nobody_writes_a_metric_that_is_not_described():
    with pytest.raises(KeyError):
        metrics.sample("vcubev_secret", 1)


RULES = """
table inet t {
  set s { type ipv4_addr; size 9; flags dynamic; timeout 1m; }
  chain input {
    type filter hook input priority filter; policy accept;
    ip saddr 192.0.2.0/24 tcp dport { 389, 636 } counter packets 7 bytes 420 accept comment "service ldap"
    ip6 saddr 2001:db8::/32 tcp dport { 389, 636 } counter packets 2 bytes 120 accept comment "service ldap"
    update @s { ip saddr limit rate over 50/second } counter packets 3 bytes 1 drop comment "too many claims"
    ip saddr 192.0.2.1 drop
    counter packets 5 bytes 9 drop
  }
}
"""


def test_what_the_packet_filter_counted_is_read_as_nft_prints_it():
    script = f"nft -f - <<'END'\n{RULES}END\nnft -j -t list table inet t"
    shown = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--net", "sh", "-euc", script], capture_output=True, text=True
    )
    assert shown.returncode == 0, shown.stderr
    found = counters.counted(shown.stdout)
    assert found == {"accept": {"service ldap": 9}, "drop": {"too many claims": 3, "input": 5}}
    assert 'vcubev_filter_packets_total{rule="service ldap",verdict="accept"} 9' in metrics.filter_samples(found)


@pytest.mark.parametrize("shown", ["", "[]", "7", '{"nftables": [{"rule": {}}]}', '{"nftables": 7}'])
def test_what_is_no_answer_of_nft_counts_nothing(shown, monkeypatch):
    with pytest.raises(ValueError):
        counters.counted(shown)
    monkeypatch.setattr(counters, "SHOW", ("echo", shown))
    assert asyncio.run(counters.look()) == {}


def test_a_machine_without_nft_counts_nothing(monkeypatch):
    monkeypatch.setattr(counters, "SHOW", ("no-such-program",))
    assert asyncio.run(counters.look()) == {}


@given(st.datetimes(datetime(1951, 1, 1), datetime(2120, 1, 1)), st.binary(min_size=1, max_size=20))
def test_when_a_certificate_ends_is_read_as_others_read_it(end, serial):
    key, end = ec.generate_private_key(ec.SECP256R1()), end.replace(tzinfo=UTC, microsecond=0)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "host.web-1")])
    built = (
        x509.CertificateBuilder(name, name, key.public_key(), int.from_bytes(serial, "big") % 2**150 + 1)
        .not_valid_before(min(end - timedelta(days=1), datetime(2026, 1, 1, tzinfo=UTC)))
        .not_valid_after(end)
        .sign(key, SHA256())
    )
    pem = built.public_bytes(Encoding.PEM).decode()
    assert validity.end_of(f"A comment.\n{pem}{pem}") == int(built.not_valid_after_utc.timestamp())


BEGIN = "-----BEGIN CERTIFICATE-----\n"


@pytest.mark.parametrize("pem", ["", "CERTIFICATE\n", f"{BEGIN}MA==\n-----END CERTIFICATE-----", f"{BEGIN}!\n"])
def test_what_is_no_certificate_has_no_end(pem, tmp_path):
    with pytest.raises(ValueError):
        validity.end_of(pem)
    (tmp_path / "certificate.pem").write_text(pem)
    assert validity.ends(tmp_path) == {}


PROTOCOLS = """BIRD 2.0.12 ready.
2002-Name       Proto      Table      State  Since         Info
1002-device1    Device     ---        up     2026-11-24 14:12:54
 bfd1       BFD        ---        up     2026-11-24 14:12:54
 link2      BGP        ---        up     2026-11-24 14:12:55  Established
 link17     BGP        ---        start  2026-11-24 14:13:01  Active        Socket: Connection refused
 link3      BGP        ---        start  14:13:01.382  Connect
0000
"""
BFD = """1020-bfd1:
 IP address                Interface  State      Since         Interval  Timeout
 fe80::2                   link2      Up         2026-11-24 14:12:54    0.100    0.300
 fe80::11                  link17     Down       2026-11-24 14:13:01    0.100    0.000
0000
"""


def test_links_are_read_as_bird_prints_them():
    two, three, seventeen = sessions.links(PROTOCOLS, BFD, [{"id": 2, "site": "paris", "name": "a"}])
    assert (two["peer"], two["bgp"], two["bfd"]) == ("paris/a", "Established", "Up")
    assert datetime.fromtimestamp(two["since"]).isoformat() == "2026-11-24T14:12:55"
    assert (three["id"], three["bgp"], three["bfd"], three["since"]) == (3, "Connect", None, None), "a BIRD of before"
    assert (seventeen["peer"], seventeen["bgp"], seventeen["bfd"]) == (None, "Active", "Down")
