"""Whatever a host sends to the hub's agent, it moves no route but its own, and the next host is served."""

import json

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.agents.test_hub import INTERFACES, agent, claiming, hub, told

assert hub  # a fixture, used by name
SOURCE, SOURCE_IPV6 = "10.100.1.1", "fd5c:ab1e:0:1::1"
HONEST = b'{"claim": true, "nonce": "1"}'
NUMBERS = st.one_of(st.integers(-(2**70), 2**70), st.integers(0, 16_002), st.floats())
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=40)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ("claim", "nonce", "hash", "above", "confirmed", "mtu")
QUESTIONS = st.fixed_dictionaries({}, optional={field: VALUES for field in FIELDS})
# One that claims, and is strange in something else.
CLAIMS = QUESTIONS.map(lambda question: {**question, "claim": True})
ENCODED = st.one_of(QUESTIONS, CLAIMS, VALUES).map(lambda question: json.dumps(question).encode())
ENCODINGS = st.builds(
    lambda text, encoding: text.decode().encode(encoding), ENCODED, st.sampled_from(["utf-16", "utf-32", "utf-8-sig"])
)
TORN = st.builds(lambda text, end: text[:end], ENCODED, st.integers(0, 300))


class Transport:
    def __init__(self) -> None:
        self.sent = []

    def sendto(self, text, to) -> None:
        self.sent.append((json.loads(text), to))


@given(
    text=st.one_of(ENCODED, TORN, ENCODINGS, st.binary(max_size=700)),
    own=st.one_of(st.none(), st.integers(1, 16_001)),
    elsewhere=st.lists(st.integers(1, 16_001), max_size=3),
)
@example(text=b"[" * 512, own=4, elsewhere=[])
@example(text=b'{"claim": true, "above": ' + b"9" * 400 + b"}", own=4, elsewhere=[])
@example(text=b'{"claim": true, "nonce": "\\ud800"}', own=3, elsewhere=[4])
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_question_moves_no_route_but_the_askers_and_the_next_is_answered(hub, text, own, elsewhere):
    hub.done.clear()
    hub.bird.route = told(own, elsewhere)
    claims, transport = agent.Claims(hub), Transport()
    claims.connection_made(transport)
    claims.datagram_received(text, (SOURCE, 5))
    for table, address, interface, old, *more, size in hub.done:
        assert (table, address in (SOURCE, SOURCE_IPV6), interface, old) == (100, True, INTERFACES["hosts-udp"], own)
        assert not more or own < more[0] <= claiming.HIGHEST_NUMBER
        assert 1400 <= size <= 8800
    for answer, to in transport.sent:
        assert to == (SOURCE, 5) and len(answer["nonce"]) <= 32
    transport.sent.clear()
    hub.bird.route = told(4, ())
    claims.datagram_received(HONEST, ("10.100.1.2", 6))
    assert [(answer["number"], to) for answer, to in transport.sent] == [(4, ("10.100.1.2", 6))]
