"""Changes to any stack file, written in either of two ways, with comments anywhere."""

import re

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from components.model.errors import StackErrors
from scripts.cli.edit.document import Document
from scripts.cli.edit.editor import Editor
from scripts.cli.edit.writing import lines, written
from tests.model.strategies import stacks
from tests.scripts.test_editing import SITES, UP, addresses, comments, topology


@st.composite
def texts(draw):
    values = {f"vcubev:{key}": value for key, value in draw(stacks()).items()}
    plain = "".join(lines("config", values, 0)).splitlines()
    inner = draw(st.booleans())
    if inner:  # hosts in braces
        document = Document("\n".join(plain))
        for site in values["vcubev:sites"]:
            if hosts := document.get(*SITES, site, "hosts"):
                document.drop((*SITES, site, "hosts"))
                document.text = document.text.replace(f"    {site}:\n", f"    {site}:\n      hosts: {written(hosts)}\n")
                document = Document(document.text)
        plain = document.text.splitlines()
    out = []
    for at, line in enumerate(plain):
        if draw(st.integers(0, 3)) == 0:
            out.append(f"{' ' * draw(st.integers(0, 8))}# above {at}")
        out.append(f"{line}  # beside {at}" if draw(st.integers(0, 3)) == 0 else line)
        if draw(st.integers(0, 9)) == 0:
            out.append("")
    return "\n".join(out) + "\n"


def flow(hosts):
    entries = (
        f"{n}: {{role: {h['role']}, id: {h['id']}, private: {str(h['private']).lower()}}}" for n, h in hosts.items()
    )
    return f"{{{', '.join(entries)}}}"


def hosts_of(text):
    return [(host.name, host.site) for host in topology(text).hosts]


SLOW = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@SLOW
@given(texts(), st.data())
def test_adding_keeps_every_line_and_every_address(text, data):
    editor = Editor(text, UP)
    site = data.draw(st.sampled_from(sorted(editor.document.get(*SITES))))
    role = data.draw(st.sampled_from(sorted(editor.document.get("config", "vcubev:roles"))))
    try:
        editor.add_host("new", site, role)
    except StackErrors as full:
        assume("past the last id" not in str(full))
        raise
    after = editor.document.text
    assert comments(after) == comments(text)
    assert addresses(after).items() >= addresses(text).items() and len(addresses(after)) == len(addresses(text)) + 1
    if not re.search(r"^      hosts: \{", text, re.MULTILINE):
        rest = iter(after.splitlines())
        assert all(line in rest for line in text.splitlines()), "a line that was there has changed"


@SLOW
@given(texts(), st.data())
def test_removing_and_adding_again_never_gives_an_id_twice(text, data):
    assume(hosts_of(text))
    editor = Editor(text, UP)
    name, site = data.draw(st.sampled_from(hosts_of(text)))
    gone = editor.document.get(*SITES, site, "hosts", name)
    editor.remove_host(name)
    lost = [comment for comment in comments(text) if comment not in comments(editor.document.text)]
    assert len(lost) <= 1 and not any("above" in comment for comment in lost), "only what stood on its own line goes"
    kept = {key: value for key, value in addresses(text).items() if key != f"host.{name}"}
    assert addresses(editor.document.text) == kept
    try:
        editor.add_host("new", site, gone["role"])
    except StackErrors as full:
        assume("past the last id" not in str(full))
        raise
    assert editor.given["new"] != gone["id"]
    assert addresses(editor.document.text).items() >= kept.items()


@SLOW
@given(texts(), st.data())
def test_renaming_and_moving_keep_comments_and_addresses(text, data):
    assume(hosts_of(text))
    editor = Editor(text, UP)
    before = addresses(text)
    name, site = data.draw(st.sampled_from(hosts_of(text)))
    editor.rename_host(name, "new")
    expected = {("host.new" if key == f"host.{name}" else key): value for key, value in before.items()}
    assert addresses(editor.document.text) == expected and comments(editor.document.text) == comments(text)
    role = editor.document.get(*SITES, site, "hosts", "new", "role")
    editor.rename_role(role, "other")
    assert addresses(editor.document.text) == expected and comments(editor.document.text) == comments(text)
    other = data.draw(st.sampled_from(sorted(editor.document.get(*SITES))))
    if other != site:
        editor.move_host("new", other)
        assert addresses(editor.document.text) == expected
        assert [c for c in comments(text) if "above" in c] == [
            c for c in comments(editor.document.text) if "above" in c
        ]
