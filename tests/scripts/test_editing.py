"""Changes to stack files: comments stay, nobody is renumbered, no id is given twice, mistakes write nothing."""

import re

import pytest

from components.model.errors import StackErrors
from components.model.stackfile import load_text
from scripts.cli.edit.document import CannotEdit, Document
from scripts.cli.edit.editor import Editor
from scripts.cli.edit.ids import State

SITES = ("config", "vcubev:sites")
UP = State(True, {})
LAB = """\
# The lab.
config:
  # All of it.
  vcubev:overlay: {ipv4: 10.100.0.0/16, ipv6: "fd5c:ab1e::/48"}   # wide enough
  vcubev:roles:
    web: {id: 1}
    db: {id: 2}  # two of them

  vcubev:services:
    db: {on: db, ports: [5432/tcp], from: [web, 'host:web-1', paris]}
    front: {on: web-1, ports: ["443/tcp"], from: [any]}
  vcubev:tests:
    - {from: web-1, to: db-1, port: 5432/tcp, allowed: true}
  vcubev:sites:
    oregon:
      id: 1
      cloud: lab
      region: us-west  # far
      hubs: {a: {id: 1}}
      hosts:
        # the first of all
        web-1: {role: web, id: 1}  # old
        # data
        db-1: {role: db, id: 1, private: true}
    paris:
      id: 2
      cloud: lab
      region: eu-west
      hubs: {a: {id: 2}, b: {id: 3}}
      hosts: {web-2: {role: web, id: 2}, db-2: {role: db, id: 2}}
encryptionsalt: v1:abc:def==
"""


def topology(text):
    return load_text(text, "test", {"lab"})


def addresses(text):
    found = topology(text)
    return {member.common_name: str(member.address.ipv4) for member in (*found.hubs, *found.hosts)}


def comments(text):
    return re.findall(r"#.*", text)


def changed(text):
    """Return what a change took from LAB, and what it added, line by line."""
    before, after = LAB.splitlines(), text.splitlines()
    return [line for line in before if line not in after], [line for line in after if line not in before]


@pytest.fixture
def editor():
    return Editor(LAB, UP)


def test_a_new_host_is_one_new_line_and_has_the_next_id(editor):
    editor.add_host("web-3", "oregon", "web", private=True)
    assert changed(editor.document.text) == ([], ["        web-3: {role: web, id: 3, private: true}"])
    assert addresses(editor.document.text)["host.web-3"] == "10.100.1.3"


def test_a_new_host_finds_its_place_within_braces_too(editor):
    editor.add_host("web-3", "paris", "web")
    assert editor.document.text == LAB.replace("db, id: 2}}", "db, id: 2}, web-3: {role: web, id: 3}}")


def test_a_site_that_had_no_hosts_gets_a_map_of_them(editor):
    editor.add_site("tokyo", "lab", "ap-east", [{}, {}])
    editor.add_host("web-3", "tokyo", "web")
    assert editor.given == {"tokyo": 3, "tokyo/a": 4, "tokyo/b": 5, "web-3": 3}
    assert addresses(editor.document.text)["host.web-3"] == "10.100.1.3"
    assert comments(editor.document.text) == comments(LAB)


def test_a_removed_hosts_neighbours_keep_their_comments(editor):
    editor.remove_host("web-1")
    assert "# the first of all" in editor.document.text and "# data\n        db-1" in editor.document.text


def test_a_removed_hosts_id_is_nobodys_again_whoever_writes_the_file(editor):
    editor.remove_service("front")
    editor.remove_host("db-2")
    assert editor.document.get("config", "vcubev:retired") == {"hosts": {"db": [2]}}
    editor.add_host("db-3", "oregon", "db")
    assert editor.given["db-3"] == 3
    by_hand = editor.document.text.replace("db-3: {role: db, id: 3}", "db-3: {role: db, id: 2}")
    with pytest.raises(StackErrors, match=r"db-3.id: 2 is taken: vcubev:retired.hosts.db has this id in role db"):
        topology(by_hand)


def test_hosts_taken_out_by_hand_while_up_are_remembered_by_the_state():
    up = {"hosts": {"web-9": {"site": "oregon", "ipv4": "10.100.1.9"}}, "hubs": {"x/a": {"site": "x", "id": 7}}}
    editor = Editor(LAB, State(True, up))
    editor.add_host("web-3", "oregon", "web")
    editor.add_hub("oregon", "b")
    assert editor.given == {"web-3": 10, "oregon/b": 8}


def test_a_stack_that_was_never_up_retires_nothing():
    editor = Editor(LAB, State())
    editor.remove_host("db-2")
    assert "retired" not in editor.document.text


def test_past_the_last_id_a_person_is_asked():
    full = LAB.replace("web-2: {role: web, id: 2}", "web-2: {role: web, id: 254}")
    with pytest.raises(StackErrors, match=r"past the last id, 254.*another role.*--id 2"):
        Editor(full, UP).add_host("web-3", "oregon", "web")
    editor = Editor(full, UP)
    editor.add_host("web-3", "oregon", "web", 2)
    assert addresses(editor.document.text)["host.web-3"] == "10.100.1.2"


def test_the_last_service_taken_out_closes_all_and_does_not_open_it(editor):
    for name in ("db", "front"):
        editor.remove_service(name)
    editor.document.drop(("config", "vcubev:tests"))
    assert topology(editor.document.text).policy.enforced and "an empty map closes all" in editor.notes[-1]


SITES_OF_LAB = LAB[LAB.index("vcubev:sites") :]


def test_the_first_service_says_that_it_closes_the_rest():
    editor = Editor(LAB[: LAB.index("  vcubev:services")] + "  " + SITES_OF_LAB, UP)
    editor.add_service("db", "db", ["5432/tcp"], ["web"])
    assert "first service" in editor.notes[0]
    assert topology(editor.document.text).policy.enforced


def test_a_renamed_host_is_renamed_wherever_it_is_meant_and_remembers_its_name():
    editor = Editor(LAB, State(True, {"hosts": {"web-1": {"site": "oregon", "ipv4": "10.100.1.1"}}}))
    editor.rename_host("web-1", "shop")
    text = editor.document.text
    assert "shop: {role: web, id: 1, formerly: [web-1]}  # old" in text
    assert "from: [web, host:shop, paris]" in text and "front: {on: shop," in text and "{from: shop, to: db-1" in text
    assert addresses(text)["host.shop"] == "10.100.1.1" and comments(text) == comments(LAB)
    again = Editor(text, State(True, {"hosts": {"shop": {"site": "oregon", "ipv4": "10.100.1.1"}}}))
    again.rename_host("shop", "web-1")
    assert "web-1: {role: web, id: 1, formerly: [shop]}  # old" in again.document.text


def test_a_name_that_still_leads_to_another_hosts_machine_is_not_given_away():
    editor = Editor(LAB, UP)
    editor.state = State(True, None)
    editor.rename_host("db-1", "data")
    editor.document.replace(("config", "vcubev:tests", 0, "to"), "data")
    editor.add_host("db-1", "oregon", "db")
    with pytest.raises(StackErrors, match="would name its machine 'db-1'"):
        topology(editor.document.text)


def test_the_generation_of_a_key_goes_with_its_owner():
    keys = "  vcubev:keys: {hosts: {web-1: [2], db-1: [2, 3]}, hubs: {paris/b: [2]}}\n"
    rotated = LAB.replace("encryptionsalt", f"{keys}encryptionsalt")
    editor = Editor(rotated, UP)
    editor.rename_host("web-1", "shop")
    editor.remove_host("db-1")
    editor.remove_hub("paris/b")
    assert editor.document.get("config", "vcubev:keys") == {"hosts": {"shop": [2]}, "hubs": {}}


def test_a_renamed_role_keeps_its_members_addresses(editor):
    before = addresses(LAB)
    editor.rename_role("web", "shop")
    assert addresses(editor.document.text) == before
    assert "from: [shop, 'host:web-1', paris]" in editor.document.text
    assert "on: db, ports" in editor.document.text, "the role db was not meant"


def test_who_may_ask_for_metrics_is_renamed_as_well():
    asked = "  vcubev:metrics: {from: [web, 'host:web-1']}  # who watches\n"
    editor = Editor(LAB.replace("encryptionsalt", f"{asked}encryptionsalt"), State(True, {}))
    editor.rename_role("web", "shop")
    editor.rename_host("web-1", "watcher")
    assert "vcubev:metrics: {from: [shop, host:watcher]}  # who watches" in editor.document.text
    assert topology(editor.document.text).policy.metrics is not None


def test_a_site_that_is_up_keeps_its_name_and_the_reason_is_told(editor):
    up = {"hubs": {"paris/a": {"site": "paris", "id": 2}}}
    with pytest.raises(StackErrors, match=r"certificates bear it.*move the hosts"):
        Editor(LAB, State(True, up)).rename_site("paris", "rome")
    with pytest.raises(StackErrors):
        Editor(LAB, State(True, None)).rename_site("paris", "rome")
    editor.rename_site("paris", "rome")
    assert addresses(editor.document.text).keys() == {name.replace("paris", "rome") for name in addresses(LAB)}
    assert "'host:web-1', rome]" in editor.document.text


def test_a_moved_host_keeps_its_address_and_the_comment_on_its_line(editor):
    editor.add_site("tokyo", "lab", "ap-east", [{}])
    editor.move_host("web-1", "tokyo")
    assert "\n        web-1: {role: web, id: 1}  # old\n" in editor.document.text.split("tokyo:")[1]
    assert comments(editor.document.text) == [c for c in comments(LAB) if c != "# old"] + ["# old"]
    assert addresses(editor.document.text).items() >= addresses(LAB).items()


def test_moving_out_of_braces_and_into_them_works(editor):
    editor.move_host("web-2", "oregon")
    editor.move_host("db-1", "paris")
    assert addresses(editor.document.text) == addresses(LAB)


def test_moving_a_machine_that_is_up_says_what_is_lost(editor):
    editor.state = State(True, None)
    editor.move_host("web-2", "oregon")
    assert "WITH ITS DISK" in editor.notes[-1]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda e: e.add_host("web-9", "rome", "web"),
        lambda e: e.add_host("web-1", "oregon", "web"),
        lambda e: e.remove_host("web-9"),
        lambda e: e.remove_hub("rome/a"),
        lambda e: e.remove_service("x"),
        lambda e: e.rename_role("x", "y"),
        lambda e: e.move_host("web-1", "oregon"),
        lambda e: e.move_host("web-1", "rome"),
    ],
)
def test_what_is_not_there_or_is_there_already_is_told(editor, wrong):
    with pytest.raises(StackErrors):
        wrong(editor)
    assert editor.document.text == LAB


def test_a_way_of_writing_that_is_not_understood_is_refused_and_not_spoilt():
    anchored = LAB.replace("a: {id: 1}", "a: &hub {id: 1}").replace("a: {id: 2}", "a: *hub")
    document = Document(anchored)
    with pytest.raises(CannotEdit):
        document.replace((*SITES, "paris", "hubs", "a", "id"), 9)
    assert document.text == anchored
