"""The hub's agent: whose claim counts, and when it says that it is not fit. BIRD and the kernel are told, not done."""

import json
import re

import pytest

from tests.agents.loading import load

agent, bird, ends = load("hub"), load("bird"), load("ends")
ESTABLISHED = "1002-link2      BGP        ---        up     06:18:43.199  Established\n0000 \n"
DOWN = (
    "1002-link2      BGP        ---        start  06:18:43.199  Connect\n"
    " link3      BGP        ---        start  06:18:43.199  Active\n0000 \n"
)
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
    done = []

    class Done:
        stdout = json.dumps([{"dst": "10.100.1.1", "dev": "hosts-udp"}])

    def run(command, **options):
        done.append((command, options.get("input", "")))
        return Done

    monkeypatch.setattr(agent.subprocess, "run", run)
    made = agent.Hub()
    made.bird = Bird()

    def wait(seconds):
        end = clock["now"] + seconds
        while clock["now"] < end:
            clock["now"] += 0.1
            made.look()
        return json.loads(agent.STATE.read_text())

    made.wait, made.done, made.marker = wait, done, tmp_path / "draining"
    return made


def told(own, others):
    places = [("hosts_kernel4 06:18:43.199", own)] if own else []
    places += [(f"link{n} 06:18:43.199", number) for n, number in enumerate(others, 2)]
    return "\n".join(f"1007-10.100.1.1/32 unicast [{place}] (1006)\n\tBGP.local_pref: {100 + n}" for place, n in places)


CLAIMS = [
    (4, (3,), 4, "the highest place has the traffic already"),
    (3, (4,), 6, "past all others, with room for a spare"),
    (4, (4,), 6, "of equal ones nobody knows which is newer"),
    (1, (), 2, "1 has no room for a spare below it"),
    (1, (9, 5, 9), 11, "past the highest"),
]


@pytest.mark.parametrize("own, others, number, reason", CLAIMS)
def test_a_claim_moves_the_number_past_every_other_place(hub, own, others, number, reason):
    hub.bird.route = told(own, others)
    answer = json.loads(hub.answer(b'{"claim": true, "nonce": "7"}', "10.100.1.1"))
    assert answer["number"] == number and answer["nonce"] == "7", reason
    changes = "".join(text for command, text in hub.done if "-batch" in command)
    if number == own:
        assert not changes, "a claim that is true already must change nothing"
    else:
        added = changes.index(f"route add 10.100.1.1/32 dev hosts-udp table 100 proto 99 metric {number}")
        assert added < changes.index(f"route del 10.100.1.1/32 dev hosts-udp table 100 proto 99 metric {own}")
        assert f"route add fd5c:ab1e:0:1::1/128 dev hosts-udp table 100 proto 99 metric {number}" in changes


def test_a_claim_goes_past_the_number_of_a_hub_that_is_out_of_sight(hub):
    hub.bird.route = told(3, ())
    answer = json.loads(hub.answer(b'{"claim": true, "above": 4}', "10.100.1.1"))
    assert answer["number"] == 6, "it would win when it comes back, with nobody behind it"
    hub.bird.route = told(6, ())
    assert json.loads(hub.answer(b'{"claim": true, "above": 4}', "10.100.1.1"))["number"] == 6, "asked again"


@pytest.mark.parametrize(
    "own, others, confirmed, number, reason",
    [
        (4, (6,), 4, 4, "whoever is past it came later: claiming back would go on for ever"),
        (3, (6,), 4, 8, "the tunnel was made anew and became a spare, but the host still sends by it"),
        (4, (4,), 4, 6, "of equal ones nobody knows which is newer"),
        (4, (6,), 0, 8, "it has just taken this tunnel: it is the newer"),
        (4, (6,), True, 8, "nonsense counts for nothing"),
    ],
)
def test_a_host_whose_identity_another_machine_took_does_not_claim_it_back(hub, own, others, confirmed, number, reason):
    hub.bird.route = told(own, others)
    question = json.dumps({"claim": True, "confirmed": confirmed}).encode()
    answer = json.loads(hub.answer(question, "10.100.1.1"))
    assert (answer["number"], answer["elsewhere"]) == (number, max(others)), reason


def test_numbers_of_a_host_are_read_from_birds_answer():
    for own, others in ((None, ()), (4, ()), (None, (4,)), (4, (3,)), (3, (4, 9, 5)), (1, (16_000,))):
        assert bird.numbers(told(own, others)) == (own or 0, max(others, default=0))


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
    hub.bird.route = told(3, (agent.HIGHEST_NUMBER,))
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
    assert "admin-prohibited" in hub.done[-1][1]
    hub.marker.unlink()
    assert hub.wait(0.2)["fit"] == 1
    assert "delete table inet vcubev_unfit" in hub.done[-1][1] and "prohibited" not in hub.done[-1][1]


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
