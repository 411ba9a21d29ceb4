"""The hub's agent: whose claim counts, and when it says that it is not fit. BIRD and the kernel are told, not done."""

import json
import re

import pytest

from components.model import topology
from tests.agents.loading import load

agent, bird, claiming, ends = load("hub"), load("bird"), load("claiming"), load("ends")
ESTABLISHED = "1002-link2      BGP        ---        up     06:18:43.199  Established\n0000 \n"
DOWN = (
    "1002-link2      BGP        ---        start  06:18:43.199  Connect\n"
    " link3      BGP        ---        start  06:18:43.199  Active\n0000 \n"
)
INTERFACES = {"hosts-udp": 7}
ALONE = "1002-device1    Device     ---        up     06:18:40.000\n0000 \n"


class Bird:
    """Answers as BIRD does."""

    def __init__(self) -> None:
        self.protocols, self.route, self.lives = ESTABLISHED, "", True

    def ask(self, command: str) -> str | None:
        if not self.lives:
            return None
        return {"show protocols": self.protocols}.get(command, self.route if "show route 1" in command else "")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    (tmp_path / "hubs").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "hubs" / "1.json").write_text(json.dumps({"id": 1, "site": "oregon"}))
    config = {
        "ipv4": "10.100.0.1",
        "overlay_ipv4": "10.100.0.0/16",
        "overlay_ipv6": "fd5c:ab1e::/48",
        "claims_port": 1195,
        "hosts_table": 100,
        "mtu_bytes": 1400,
        "jumbo_mtu_bytes": 8800,
    }
    (tmp_path / "hub.json").write_text(json.dumps(config))
    monkeypatch.setattr(agent, "CONFIG", tmp_path / "hub.json")
    monkeypatch.setattr(agent, "HUBS", tmp_path / "hubs")
    monkeypatch.setattr(agent, "STATE", tmp_path / "run" / "state.json")
    monkeypatch.setattr(agent, "DRAINING", (tmp_path / "draining",))
    monkeypatch.setattr(ends, "LIST", tmp_path / "crl.pem")
    monkeypatch.setattr(ends, "TOLD", tmp_path / "crl.json")
    (tmp_path / "crl.pem").write_text("LIST\n")
    told = {"serials": {"17": {}}, "ends": {"certificate": 1_800_000_000, "revocation_list": 2_000_000_000}}
    (tmp_path / "crl.json").write_text(json.dumps(told))
    clock = {"now": 1000.0}
    monkeypatch.setattr(agent.time, "monotonic", lambda: clock["now"])
    done, filters = [], []

    class Table:
        def __init__(self, number):
            self.number, self.there = number, True

        def move(self, address, interface, metric, new, mtu_bytes):
            done.append((self.number, str(address), interface, metric, new, mtu_bytes))
            return self.there

        def resize(self, address, interface, metric, mtu_bytes):
            done.append((self.number, str(address), interface, metric, mtu_bytes))

    monkeypatch.setattr(agent, "Table", Table)
    monkeypatch.setattr(claiming.socket, "if_nametoindex", INTERFACES.__getitem__)
    monkeypatch.setattr(agent.subprocess, "run", lambda _, input, **options: filters.append(input))
    made = agent.Hub()
    made.bird = Bird()

    def wait(seconds):
        end = clock["now"] + seconds
        while clock["now"] < end:
            clock["now"] += 0.1
            made.look()
        return json.loads(agent.STATE.read_text())

    made.wait, made.done, made.filters, made.marker = wait, done, filters, tmp_path / "draining"
    return made


def told(own, others, mtu_bytes=1400):
    """BIRD's answer of a host: its number here, those elsewhere, and how large packets may be by its tunnel here."""
    places = [("hosts_kernel4 06:18:43.199", "\tdev hosts-udp", own)] if own else []
    way = "\tvia fe80::{n} on link{n}\n\tBGP.as_path: 4200000012 42000000{n:02}"
    places += [(f"link{n} 06:18:43.199", way.format(n=n), number) for n, number in enumerate(others, 2)]
    return "\n".join(
        f"1007-10.100.1.1/32 unicast [{place}] (1006)\n{way}\n\tBGP.local_pref: {100 + n}"
        + f"\n\tKernel.mtu: {mtu_bytes}" * place.startswith("hosts")
        for place, way, n in places
    )


def test_numbers_of_a_host_are_read_from_birds_answer():
    for own, others in ((None, ()), (4, ()), (None, (4,)), (4, (3,)), (3, (4, 9, 5)), (1, (16_000,))):
        assert bird.numbers(told(own, others)) == (own or 0, max(others, default=0))
    assert bird.newest_at(told(3, (4, 9, 5))) == 3 and bird.newest_at(told(3, ())) == 0
    assert bird.FIRST_ASN == topology.FIRST_ASN


@pytest.mark.parametrize("above", ["null", "-1", '"9"', "true", "1e9", "99999999", "[]"])
def test_nonsense_for_a_number_counts_for_nothing(hub, above):
    hub.bird.route = told(4, (3,))
    answer = json.loads(hub.answer(f'{{"claim": true, "above": {above}}}'.encode(), "10.100.1.1"))
    assert answer["number"] == 4


def test_a_host_that_is_not_here_can_claim_nothing(hub):
    hub.bird.route = told(None, (4,))
    assert json.loads(hub.answer(b'{"claim": true}', "10.100.1.1"))["number"] is None
    assert not hub.done


@pytest.mark.parametrize("source", ["192.0.2.1", "10.101.1.1"])
def test_nobody_from_outside_the_overlay_is_answered(hub, source):
    assert hub.answer(b'{"claim": true}', source) is None


def test_numbers_end_before_they_turn_round(hub):
    hub.bird.route = told(3, (claiming.HIGHEST_NUMBER,))
    assert json.loads(hub.answer(b'{"claim": true}', "10.100.1.1"))["number"] is None
    assert not hub.done


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"7", b"null", b"\xff\xfe", b"[" * 500, b'{"a":' * 99, b"x" * 60000]
)
def test_whatever_a_host_sends_the_next_one_is_served(hub, text):
    sent = []
    claims = agent.Claims(hub)
    claims.connection_made(type("Transport", (), {"sendto": lambda self, *what: sent.append(what)})())
    claims.datagram_received(text, ("10.100.1.1", 5))
    hub.bird.route = told(4, ())
    claims.datagram_received(b'{"claim": true, "nonce": "1"}', ("10.100.1.1", 5))
    assert len(sent) == 1


def test_the_list_of_hubs_is_told_to_those_who_do_not_have_it(hub):
    hub.wait(1)
    first = json.loads(hub.answer(b"{}", "10.100.1.1"))
    assert first["hubs"] == [{"id": 1, "site": "oregon"}]
    again = json.loads(hub.answer(json.dumps({"hash": first["hash"]}).encode(), "10.100.1.1"))
    assert "hubs" not in again
    (agent.HUBS / "2.json").write_text(json.dumps({"id": 2, "site": "paris"}))
    hub.wait(1)
    assert len(json.loads(hub.answer(json.dumps({"hash": first["hash"]}).encode(), "10.100.1.1"))["hubs"]) == 2


def test_addresses_in_a_sites_own_network_are_told_beside_the_list_for_hosts_that_know_no_such_word(hub):
    (agent.HUBS / "1.json").write_text(json.dumps({"id": 1, "site": "oregon", "inner": "172.30.1.5"}))
    hub.wait(1)
    first = json.loads(hub.answer(b"{}", "10.100.1.1"))
    assert first["hubs"] == [{"id": 1, "site": "oregon"}] and first["inner"] == {"1": "172.30.1.5"}
    (agent.HUBS / "1.json").write_text(json.dumps({"id": 1, "site": "oregon", "inner": "172.30.1.6"}))
    hub.wait(1)
    again = json.loads(hub.answer(json.dumps({"hash": first["hash"]}).encode(), "10.100.1.1"))
    assert again["inner"] == {"1": "172.30.1.6"}, "a new one is news"


def test_a_hub_is_fit_once_another_hub_is_heard(hub):
    hub.bird.protocols = DOWN
    assert hub.wait(1)["fit"] == 0
    hub.bird.protocols = ESTABLISHED
    assert hub.wait(0.4)["fit"] == 0, "its routes need a moment"
    assert hub.wait(1)["fit"] == 1


def test_an_agent_that_starts_again_moves_nobody(hub):
    assert hub.wait(0.1)["fit"] == 1


def test_the_first_hub_of_all_is_fit_alone(hub):
    hub.bird.protocols = ALONE
    assert hub.wait(0.1)["fit"] == 1


def test_the_first_link_of_a_hub_that_serves_alone_moves_nobody(hub):
    hub.bird.protocols = ALONE
    hub.wait(2)
    hub.bird.protocols = DOWN
    assert hub.wait(1)["fit"] == 1


def test_a_hub_that_no_other_answers_serves_after_some_seconds_until_it_had_them_and_lost_them(hub):
    hub.bird.protocols = DOWN
    assert hub.wait(agent.LONELY_SECONDS + 1)["reasons"] == ["cut off"]
    hub.bird.protocols = DOWN.replace(" link3", " other3")
    assert hub.wait(1)["fit"] == 1, "of two hubs each has all hosts"


def test_a_hub_whose_links_were_restarted_while_it_was_drained_takes_hosts_when_it_hears_another_again(hub):
    assert hub.wait(1)["fit"] == 1
    agent.DRAINING[0].touch()
    assert hub.wait(0.2)["reasons"] == ["draining"]
    hub.bird.protocols = DOWN
    agent.DRAINING[0].unlink()
    assert hub.wait(0.1)["reasons"] == ["joining"]
    assert hub.wait(2)["fit"] == 0
    hub.bird.protocols = ESTABLISHED
    assert hub.wait(2)["fit"] == 1


def test_a_drained_hub_whose_links_stood_takes_hosts_at_once(hub):
    assert hub.wait(1)["fit"] == 1
    agent.DRAINING[0].touch()
    hub.wait(0.2)
    agent.DRAINING[0].unlink()
    assert hub.wait(0.1)["fit"] == 1


def test_a_hub_without_bird_says_so_within_two_tenths_of_a_second(hub):
    hub.wait(2)
    hub.bird.lives = False
    assert hub.wait(0.2)["reasons"] == ["no BIRD"]
    hub.bird.lives, hub.bird.protocols = True, DOWN
    assert hub.wait(1)["fit"] == 0, "a new BIRD knows no route yet"
    hub.bird.protocols = ESTABLISHED
    assert hub.wait(2)["fit"] == 1


def test_a_hub_that_can_write_nothing_down_goes_on_answering_and_says_whether_it_is_fit(hub, monkeypatch):
    """Its /run is full, say."""

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(agent.pathlib.Path, "write_text", full)
    for _ in range(20):
        hub.look()
    assert hub.fit
    hub.bird.lives = False
    hub.look()
    assert not hub.fit


def test_a_draining_hub_answers_that_it_is_not_fit_and_undoes_it(hub):
    hub.wait(2)
    hub.marker.write_text("")
    assert hub.wait(0.2)["draining"] == 1
    assert "admin-prohibited" in hub.filters[-1]
    hub.marker.unlink()
    assert hub.wait(0.2)["fit"] == 1
    assert "delete table inet vcubev_unfit" in hub.filters[-1] and "prohibited" not in hub.filters[-1]


def test_a_hub_with_no_revocation_list_says_that_it_is_not_fit(hub, tmp_path):
    assert hub.wait(2)["fit"] == 1
    (tmp_path / "crl.pem").unlink()
    state = hub.wait(1)
    assert state["fit"] == 0 and state["reasons"] == ["no revocation list"], "OpenVPN would not start without"
    (tmp_path / "crl.pem").write_text("LIST\n")
    assert hub.wait(1)["fit"] == 1


def test_what_ends_when_is_told_to_people_and_to_prometheus(hub, tmp_path):
    state = hub.wait(2)
    assert state["ends"] == {"certificate": 1_800_000_000, "revocation_list": 2_000_000_000}
    metrics = (tmp_path / "run" / "vcubev.prom").read_text()
    samples = [line for line in metrics.splitlines() if not line.startswith("#")]
    assert 'vcubev_end_seconds{what="revocation_list"} 2000000000' in samples
    assert "vcubev_revoked_certificates 1" in samples and "vcubev_hub_fit 1" in samples
    for line in samples:
        name = re.match(r"([a-z_]+)", line)[1]
        assert metrics.count(f"# TYPE {name} gauge\n") == metrics.count(f"# HELP {name} ") == 1
    (tmp_path / "crl.json").write_text("no JSON")
    # The file is written every five seconds, changed or not: by its age Prometheus sees that the agent lives.
    assert hub.wait(6)["fit"] == 1 and "vcubev_end_seconds{" not in (tmp_path / "run" / "vcubev.prom").read_text()
