"""What `up` and `down` show on a terminal, from what real engines said: tests/engine/recorded.py."""

import io
from dataclasses import replace

import pytest
from pulumi.automation import EngineEvent
from rich.console import Console

from bench.generated import stack_values
from components.clouds import known_clouds
from components.model.stackfile import load
from scripts.cli.progress.course import Course
from scripts.cli.progress.display import picture, seconds
from scripts.cli.progress.durations import Durations
from scripts.cli.progress.plan import COMMAND, OWN, Plan, Resource
from scripts.cli.progress.remaining import of_all
from tests.components.declared import declare, lab_values
from tests.engine.recorded import another, read

STACK = "kept"
COLUMNS, LINES = 100, 40


def plan(changed=False):
    values = lab_values()
    if changed:
        config = {f"vcubev:{key}": value for key, value in values.items()}
        another(config)
    return Plan.of(STACK, load(values, known_clouds()))


def course(durations=None, **options):
    return Course(plan(**options), durations or Durations())


def after(told, events, until):
    """Let a course hear what was said until a moment; return the last one's time."""
    at = events[0][0]
    for at, event in events:
        if at > until:
            break
        told.take(event, at)
    return min(at, until)


def drawn(told, at, lines=LINES, ending=False, columns=COLUMNS):
    out = Console(file=io.StringIO(), width=columns, color_system=None)
    out.print(picture(told, 0, at, lines, ending, columns))
    return "\n".join(line.rstrip() for line in out.file.getvalue().splitlines())


def states(told):
    return {standing.name: told.state(standing) for standing in told.everything()}


def moment(events, when):
    """Return the time of the first event that `when` is true of, and a moment more."""
    return next(at for at, event in events if when(event)) + 0.01


def begins(name):
    return lambda event: event.resource_pre_event and event.resource_pre_event.metadata.urn.endswith(f"::{name}")


@pytest.mark.parametrize("name", ["kept-web-1-first-contact", "kept-oregon-a-install", "kept-link-1-2-listener"])
def test_each_machine_is_shown_with_what_is_being_done(name, snapshot):
    told, events = course(), read("broken")
    at = after(told, events, moment(events, begins(name)))
    assert drawn(told, at) == snapshot


def test_what_fails_is_shown_at_its_machine_and_told_in_full_with_its_name(snapshot):
    told, events = course(), read("broken")
    at = after(told, events, events[-1][0])
    assert drawn(told, at) == snapshot
    assert states(told)["web-1"] == "failed: install"
    said = [one for one in told.told if one.severity == "error" and one.owner != OWN]
    assert [(one.owner, one.text) for one in said] == [
        ("web-1", "error: nobody answers at 198.18.0.9:22\nafter 60 tries")
    ]


def test_of_machines_that_are_up_only_those_that_change_are_called_done(snapshot):
    told, events = course(changed=True), read("another")
    at = after(told, events, moment(events, begins("kept-web-3-first-contact")))
    assert drawn(told, at) == snapshot
    after(told, events, events[-1][0])
    ended = states(told)
    assert ended["db-1"] == "unchanged", "nothing was done to it"
    assert ended["web-3"] == ended["web-4"] == ended["web-1"] == "done"
    assert ended["web-2"] == "gone", "it has left the stack file, and its machine must not vanish untold"
    assert not [name for name, state in ended.items() if state.startswith("not")]


def test_a_stack_that_is_taken_away_leaves_nothing_unfinished():
    told, events = Course(plan(changed=True), Durations(), destroys=True), read("down")
    at = after(told, events, events[-1][0])
    assert set(states(told).values()) == {"gone"}
    assert drawn(told, at).count("5/5") == 2


def test_where_nothing_is_known_no_time_left_is_told():
    told, events = course(), read("broken")
    at = after(told, events, moment(events, begins("kept-oregon-a-first-contact")))
    assert "left" not in drawn(told, at).replace("left\n", "", 1)
    assert of_all(told, at) is None


SLOW = {
    f"lab {kind}: {verb} {step}": [8.0]
    for kind in ("hub", "host", "private host")
    for verb, step in (
        ("come to", "machine"), ("make", "machine"), ("make", "first contact"), ("make", "crl"), ("make", "install"),
        ("make", "link"),
    )
}  # fmt: skip


def test_what_steps_took_before_tells_how_long_they_will_take(snapshot):
    told, events = course(Durations(SLOW)), read("broken")
    at = after(told, events, moment(events, begins("kept-web-1-first-contact")))
    assert drawn(told, at) == snapshot
    assert "about 8 s" in drawn(told, at)


@pytest.mark.parametrize("columns", [80, 90, 100])
def test_on_a_terminal_of_80_columns_what_is_left_of_minutes_is_read_whole(columns):
    long = {kind: [seconds * 80 for seconds in known] for kind, known in SLOW.items()}
    told, events = course(Durations(long)), read("broken")
    at = after(told, events, moment(events, begins("kept-web-1-first-contact")))
    shown = drawn(told, at, columns=columns).splitlines()
    assert any(line.endswith("about 10 min 40 s") for line in shown), shown
    assert max(map(len, shown)) <= columns


def test_a_run_that_ctrl_c_has_ended_says_so_and_does_not_call_the_stack_s_own_things_done():
    told, events = course(), read("broken")
    at = after(told, events, moment(events, begins("kept-web-1-first-contact")))
    assert "Ctrl-C again ends it at once" in drawn(told, at, ending=True)
    told.over = True
    shown = drawn(told, at, ending=True)
    assert "ended by Ctrl-C; run it again, and it goes on from there" in shown and "again ends it" not in shown
    assert states(told)[OWN] == "12 ready" and "done" not in shown


def test_a_step_that_takes_much_longer_than_usual_ends_nobody_knows_when():
    told, events = course(Durations(SLOW)), read("broken")
    at = after(told, events, moment(events, begins("kept-web-1-first-contact")))
    assert of_all(told, at) is not None
    assert of_all(told, at + 60) is None and "about" not in drawn(told, at + 60)


def test_hubs_are_installed_one_after_the_other_and_the_time_left_says_so():
    told, events = course(Durations(SLOW)), read("broken")
    at = after(told, events, moment(events, lambda event: event.resource_pre_event))
    told.fresh, told.started = True, at
    # To the machine, machine, first contact, revocation list; two hubs' installs; then hosts and links side by side.
    assert of_all(told, at) == pytest.approx(7 * 8)


def test_finished_machines_of_this_run_tell_as_well():
    told, events = course(), read("broken")
    after(told, events, events[-1][0])
    assert told.durations.usual("lab host: make first contact") == pytest.approx(1.0, abs=0.3)
    assert told.durations.usual("lab private host: make install") is not None, "db-1's"


def test_what_is_not_a_duration_in_the_file_is_no_reason_to_end(tmp_path):
    file = tmp_path / "there" / "durations.json"
    for text in ("", "[]", '{"a": 1}', '{"a": ["x"]}', "null"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        assert Durations.read(file).usual("a") is None
    told = Durations()
    for number in range(10):
        told.add("a", number)
    told.write(file)
    assert Durations.read(file).usual("a") == 7, "the last five count"
    assert file.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in file.parent.iterdir()] == ["durations.json"]


def test_of_more_machines_than_lines_those_that_tell_most_are_shown():
    values = stack_values(200)
    told = Course(Plan.of(STACK, load(values, known_clouds())), Durations())
    told.standings["host-150"].failed = "install"
    text = drawn(told, 5, lines=24)
    assert len(text.splitlines()) <= 24 and "host-150" in text and "more: " in text


def test_machines_that_a_broken_run_never_came_to_are_not_called_unfinished():
    told, events = course(), read("broken")
    after(told, events, moment(events, begins("kept-oregon-a-first-contact")))
    told.over = True
    ended = states(told)
    assert ended["db-2"] == "not reached" and ended["web-1"] == "not finished"


def test_a_user_who_asks_for_the_end_is_told_what_is_waited_for():
    assert "Ctrl-C again ends it at once" in drawn(course(), 5, ending=True)


def members(topology_plan, made):
    """Return what a declared mesh has for each member: member -> steps."""
    found = {name: set() for name in topology_plan.members}
    for (kind, name), options in made.options.items():
        parent = Resource.of(options.parent) if options.parent else None
        above = (*(parent.above if parent else ()), parent.type) if parent else ()
        resource = Resource(kind, name, above)
        owner, (what, step) = topology_plan.owner(resource, parent), topology_plan.step(resource)
        if owner in found and what != "other":
            found[owner].add(step)
        assert kind != COMMAND or owner != OWN, f"{name} runs on nobody's machine"
    return found


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"metrics": {"from": ["web"]}},
        {"services": {"db": {"on": "db", "ports": ["5432/tcp"], "from": ["web"]}}},
        {"services": {"db": {"on": "db", "ports": ["5432/tcp"], "from": ["web"], "anycast": True}}},
    ],
    ids=["as it is", "metrics", "services", "nearest"],
)
def test_the_steps_of_a_machine_are_what_the_program_declares_for_it(more):
    """Else a machine would stay at 4 of 5 for good, or be called done too early."""
    values = lab_values() | more
    made = declare(values)
    name = next(name for kind, name in made.made if kind == "vcubev:index:Mesh")
    topology_plan = Plan.of(name, load(values, known_clouds()))
    assert {m.name: set(m.steps) for m in topology_plan.members.values()} == members(topology_plan, made)


def test_names_are_the_users_own_also_of_what_has_left_the_stack_file():
    topology = load(lab_values(), known_clouds())
    known = Plan.of(STACK, topology)

    def owner(urn, parent):
        return known.owner(Resource.of(urn), Resource.of(parent))

    below = "urn:pulumi:kept::vcubev::vcubev:index:Mesh$vcubev:index:Site"
    hub, host = f"{below}$vcubev:index:Hub", f"{below}$vcubev:index:Host"
    assert owner(f"{hub}${COMMAND}::kept-paris-b-install", f"{hub}::kept-paris-b") == "paris/b"
    assert owner(f"{host}${COMMAND}::kept-shop-install", f"{host}::kept-shop") == "shop"
    renamed = replace(
        topology,
        sites=tuple(
            replace(s, hosts=tuple(replace(h, formerly=("shop",)) if h.name == "web-1" else h for h in s.hosts))
            for s in topology.sites
        ),
    )
    assert Plan.of(STACK, renamed).owner(Resource.of(f"{host}::kept-shop"), None) == "web-1"


def test_a_run_for_one_host_shows_that_host_and_the_hubs():
    topology = load(lab_values(), known_clouds())
    about_one = Plan.of(STACK, topology, ["web-1"])
    assert list(about_one.members) == [*(hub.key for hub in topology.hubs), "web-1"]
    host = f"urn:pulumi:{STACK}::vcubev::vcubev:index:Mesh$vcubev:index:Site$vcubev:index:Host"
    owners = [about_one.owner(Resource.of(f"{host}::{STACK}-{name}"), None) for name in ("web-1", "web-2", "gone")]
    assert owners == ["web-1", OWN, OWN]


def test_times_read_as_people_say_them():
    assert [seconds(8.4), seconds(59.6), seconds(125)] == ["8 s", "1 min 00 s", "2 min 05 s"]


def test_what_the_engine_says_twice_is_told_once_and_what_is_for_developers_never():
    told = course()
    for severity, ephemeral in (("warning", False), ("warning", False), ("debug", False), ("info", True)):
        said = {"message": f"{severity} text\n", "severity": severity, "ephemeral": ephemeral, "color": "never"}
        told.take(EngineEvent.from_json({"sequence": 1, "timestamp": 1, "diagnosticEvent": said}), 1)
    assert [one.text for one in told.told] == ["warning text"]
