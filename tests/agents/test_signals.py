"""What hosts say to each other of direct tunnels: whatever a member sends, it counts only if all of it is right."""

import json
from ipaddress import IPv4Address

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.agents.loading import load

signals, shortcuts, straight = load("signals"), load("shortcuts"), load("straight")
PORTS = range(20_300, 20_332)
OWN, PEER = (int(IPv4Address(f"10.100.1.{number}")) for number in (1, 2))
NONCE, SECRET = "0123456789abcdef", "ab" * 32
RIGHT = [
    signals.Ask(NONCE, "oregon", "10.30.1.4", "203.0.113.9", 0),
    signals.Ask(NONCE, "oregon", "", "", 7),
    signals.Answer(NONCE, "dial", "203.0.113.9", 20_301, SECRET),
    signals.Answer(NONCE, "listen"),
    signals.Answer(NONCE, "none"),
    signals.Offer(NONCE, "203.0.113.9", 20_331, SECRET),
    signals.Hello(NONCE, True),
    signals.Here(NONCE, True, False),
    signals.End(NONCE),
    signals.Probe(NONCE, 4, 77),
    signals.Echo(NONCE, 4),
]
NUMBERS = st.one_of(st.integers(-(2**70), 2**70), st.integers(20_290, 20_340), st.floats())
WORDS = st.sampled_from(
    [
        NONCE,
        SECRET,
        "dial",
        "listen",
        "none",
        "oregon",
        "203.0.113.9",
        "127.0.0.1",
        "255.255.255.255",
        "",
        "\n",
        "0.0.0.0",
    ]
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=40), WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = sorted({field for message in RIGHT for field in message.__dataclass_fields__})
SPOILED = st.builds(
    lambda message, more: {**json.loads(signals.write(message)), **more},
    st.sampled_from(RIGHT),
    st.dictionaries(st.sampled_from([*FIELDS, "kind"]), VALUES, max_size=2),
)
ENCODED = st.one_of(SPOILED, VALUES).map(lambda value: json.dumps(value).encode())
ANYTHING = st.one_of(
    ENCODED, st.builds(lambda text, end: text[:end], ENCODED, st.integers(0, 300)), st.binary(max_size=700)
)


def taken(text):
    try:
        return signals.read(text, PORTS)
    except ValueError:
        return None


def test_what_one_writes_the_other_reads():
    assert [signals.read(signals.write(message), PORTS) for message in RIGHT] == RIGHT
    assert max(len(signals.write(message)) for message in RIGHT) < signals.LONGEST / 2


@given(ANYTHING)
@example(b"[" * 512)
@example(b'{"kind": "end", "nonce": "0123456789abcdef", "more": 1}')
@example(b'{"kind": ["end"], "nonce": "0123456789abcdef"}')
@example(b'{"kind":"probe","nonce":"0123456789abcdef","number":true}')
@settings(max_examples=600, deadline=None)
def test_a_message_is_right_in_all_parts_or_none(text):
    if (message := taken(text)) is None:
        return
    assert signals.NONCE.fullmatch(message.nonce)
    if isinstance(message, signals.Offer) or (isinstance(message, signals.Answer) and message.way == "dial"):
        address = IPv4Address(message.address)
        assert message.port in PORTS and not (address.is_loopback or address.is_multicast or address.is_link_local)
        assert signals.SECRET.fullmatch(message.secret), "it becomes a key file"
    assert taken(signals.write(message)) == message


@given(st.lists(st.tuples(ANYTHING, st.integers(0, 8), st.floats(0, 2)), max_size=8))
@settings(max_examples=300, deadline=None)
def test_whatever_a_member_sends_it_has_one_tunnel_at_most_and_only_to_itself(messages):
    agent = shortcuts.Shortcuts(OWN, "oregon", "10.30.1.3", "203.0.113.8", PORTS, lambda count: "cd" * count)
    now = 100.0
    for text, slot, pause in messages:
        now += pause
        message = taken(text)
        actions = agent.heard(now, PEER, message, slot) if message else []
        actions += agent.step(now)
        assert {action.peer for action in actions} <= {PEER}
        assert len(agent.tunnels) <= 1
        assert not [action for action in actions if isinstance(action, straight.Use)], (
            "nothing has answered by a tunnel"
        )
        for start in (action for action in actions if isinstance(action, straight.Start)):
            assert start.port in PORTS and signals.SECRET.fullmatch(start.secret)
