"""Which server a host uses, in simulated time."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.agents.loading import load

closest = load("closest")
TICK = 0.1
RTT = {1: 0.002, 2: 0.010, 3: 0.030, 4: 0.050, 5: 0.080}


class World:
    """Servers and a hub that answer or do not, and the choice."""

    def __init__(self, rtt=RTT, own=None, pinged=True, checked=True):
        self.rtt, self.now = dict(rtt), 0.0
        self.dead, self.unwell, self.listed, self.hub = set(), set(), set(rtt), True
        self.pinged, self.checked = pinged, checked
        self.choice = closest.Closest(0.0, own, pinged, checked, 2)
        self.moves, self.checks = [], []
        self._look_at, self._pinged = 0.0, {}

    def tick(self):
        self.now += TICK
        now, choice = self.now, self.choice
        if choice.know(now, self.listed):
            self._look_at = 0.0
        if self.pinged and now >= self._look_at:
            for member, server in choice.servers.items():
                server.looked_at(None if member in self.dead else self.rtt[member])
            self._look_at = now + (30 if all(server.seen for server in choice.servers.values()) else 5)
        if self.hub:
            choice.heard_hub(now)
        if (move := choice.step(now)) is not None:
            self.moves.append((now, move))
        for member in choice.due(now):
            self.checks.append((now, member))
            well = member not in self.dead | self.unwell
            choice.took(now, member, self.rtt[member] if well else None)
        for member, period in (choice.watched(now) if self.pinged else {}).items():
            if member not in self.dead and now >= self._pinged.get(member, 0.0):
                self._pinged[member] = now + period
                choice.heard(now, member, self.rtt[member])

    def run(self, seconds):
        for _ in range(round(seconds / TICK)):
            self.tick()

    def until(self, true, seconds=60):
        began = self.now
        while not true(self):
            self.tick()
            assert self.now - began < seconds, f"not within {seconds} s: {self.choice.server}"
        return self.now - began

    def reasons(self):
        return [move.reason for _, move in self.moves]


def settled(**options):
    world = World(**options)
    world.until(lambda w: w.choice.server is not None)
    world.run(30)
    return world


def test_the_nearest_is_chosen_and_kept():
    world = settled()
    assert [(move.target, move.reason) for _, move in world.moves] == [(1, "first")]


def test_a_host_that_serves_itself_uses_itself_and_another_only_while_it_is_not_well():
    world = settled(own=4)
    assert world.choice.server == 4
    world.unwell.add(4)
    world.until(lambda w: w.choice.server == 1)
    world.unwell.clear()
    world.until(lambda w: w.choice.server == 4)
    assert world.reasons() == ["first", "failing", "nearer"]


def test_a_dead_server_is_left_within_a_second_and_a_half():
    world = settled()
    world.dead.add(1)
    assert world.until(lambda w: w.choice.server == 2) <= 1.5
    assert world.choice.lost(world.now) == [1] and world.reasons()[-1] == "silent"


def test_a_failing_server_is_left_after_two_failures_and_one_alone_counts_for_nothing():
    world = settled()
    world.choice.took(world.now, 1, None)
    world.run(20)
    assert world.choice.server == 1
    world.unwell.add(1)
    assert world.until(lambda w: w.choice.server == 2) <= 2 + closest.RECHECK_SECONDS + 2 * TICK


def test_a_server_that_comes_back_is_used_again_when_it_has_been_well_for_a_while():
    world = settled()
    world.dead.add(1)
    world.listed.discard(1)
    world.run(20)
    world.dead.clear()
    world.listed.add(1)
    assert closest.SETTLED_SECONDS < world.until(lambda w: w.choice.server == 1) < closest.SETTLED_SECONDS + 15


def test_one_that_dies_again_and_again_is_let_alone_for_longer_each_time():
    world = settled()
    for _ in range(150):
        world.dead ^= {1}
        world.run(4)
    times = [at for at, move in world.moves if move.reason == "nearer"]
    pauses = [later - at for at, later in pairwise(times)]
    assert len(times) <= 7 and pauses == sorted(pauses), pauses


def test_two_that_are_about_as_near_take_no_turns():
    world = settled()
    for step in range(60):
        world.rtt[2] = 0.0015 + 0.001 * (step % 2)
        world.run(1)
    assert world.reasons() == ["first"]


def test_a_noticeably_nearer_one_is_taken_after_a_while_and_not_at_once():
    world = settled()
    world.rtt[1], world.rtt[2] = 0.060, 0.010
    assert closest.SETTLED_SECONDS <= world.until(lambda w: w.choice.server == 2) < 20
    assert world.reasons() == ["first", "nearer"]


def test_a_host_that_hears_nobody_leaves_its_server_for_nobody():
    world = settled()
    world.hub, world.dead = False, set(RTT)
    world.run(60)
    world.hub, world.dead = True, set()
    world.run(30)
    assert world.reasons() == ["first"]


def test_with_nobody_left_there_is_none_until_one_is_back():
    world = settled()
    world.dead = set(RTT)
    # One after the other, each for as long as it takes to miss it.
    world.until(lambda w: w.choice.server is None, 15)
    world.run(20)
    world.dead.discard(3)
    world.listed.discard(3)
    world.tick()
    world.listed.add(3)
    assert world.until(lambda w: w.choice.server == 3) < 3
    assert world.reasons()[-1] == "back"


def test_names_that_start_anew_take_no_server_away():
    world = settled()
    world.listed.clear()
    world.run(10)
    assert world.choice.server == 1
    world.listed |= set(RTT)
    world.run(30)
    assert world.reasons() == ["first"]


def test_without_pings_checks_say_who_is_near_and_who_lives():
    world = settled(pinged=False)
    world.run(60)
    assert world.choice.server == 1
    world.dead.add(1)
    assert world.until(lambda w: w.choice.server == 2) <= 3


def test_without_pings_a_host_that_hears_nobody_keeps_its_server_too():
    world = settled(pinged=False)
    world.run(30)
    world.hub, world.dead = False, set(RTT)
    world.run(30)
    world.hub, world.dead = True, set()
    world.run(10)
    assert world.choice.server == 1 and set(world.reasons()) <= {"first", "nearer"}


def test_without_a_check_pings_are_all():
    world = settled(checked=False)
    assert world.choice.server == 1 and not world.checks
    world.dead.add(1)
    assert world.until(lambda w: w.choice.server == 2) <= 1.5


def test_another_agent_goes_on_with_the_choice_that_is_in_force():
    world = World()
    world.choice.adopt(0.0, 2, [1, 2])
    world.run(8)
    assert world.choice.server == 2 and not world.moves
    world.until(lambda w: w.choice.server == 1)
    assert world.reasons() == ["nearer"]


def test_however_many_servers_there_are_few_are_pinged_and_checked_often():
    world = settled(rtt={member: member / 1000 for member in range(1, 255)})
    world.checks.clear()
    world.run(60)
    assert len(world.choice.watched(world.now)) <= 1 + 2 * closest.STANDBYS + closest.REMEMBERED
    assert len(world.checks) < 60 / 2 + closest.STANDBYS * 60 / 10 + 10
    assert len({member for _, member in world.checks}) <= 6


EVENTS = st.lists(
    st.tuples(st.sampled_from(["dead", "unwell", "listed"]), st.integers(1, 5), st.floats(0.1, 8)), max_size=12
)


@settings(max_examples=60, deadline=None)
@given(EVENTS)
def test_whatever_happens_the_nearest_that_is_well_is_used_in_the_end_and_no_dead_one_for_long(events):
    world = World()
    for what, member, seconds in events:
        getattr(world, what).symmetric_difference_update({member})
        world.run(seconds)
    world.run(8)
    gone = world.dead | world.unwell
    assert world.choice.server not in gone
    world.dead.clear()
    world.unwell.clear()
    world.listed = set(RTT)
    world.until(lambda w: w.choice.server == 1 and not w.choice.lost(w.now), 90)
