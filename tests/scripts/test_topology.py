"""`vcubev topology`: what the pictures show."""

import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings
from typer.testing import CliRunner

from components.clouds import known_clouds
from components.model.stackfile import load, load_file
from scripts.cli import __main__ as cli
from scripts.cli.drawing import DEAD, FILLS, STROKES, dot, image, mermaid
from scripts.cli.gather import PING_LINK
from scripts.cli.picture import DOWN, PLANNED, UNFIT, UNSEEN, UP, Seen, Tunnel, drawn
from scripts.cli.reach import all_at_once, round_trips
from scripts.cli.stack import ROOT
from tests.model.strategies import stacks

LAB3 = load_file(ROOT / "stacks" / "Pulumi.lab3.yaml", known_clouds())
MEMBERS = {member: UP for member in ("oregon/a", "oregon/b", "paris/a", "web-1", "db-2")}
SEEN = Seen(
    {**MEMBERS, "paris/a": UNFIT, "db-1": DOWN},
    {"paris/a": "draining", "db-1": 'SSH: "no" <route>'},
    {
        "web-1": (Tunnel("paris/a", False, False), Tunnel("oregon/a", True, True, 5.0)),
        "db-2": (Tunnel("oregon/b", True, True, 150.0),),
    },
    {
        ("oregon/a", "oregon/b"): 2.0,
        ("oregon/b", "oregon/a"): 3.0,
        ("oregon/a", "paris/a"): 60.0,
        ("paris/a", "oregon/a"): None,
    },
)
needs_dot = pytest.mark.skipif(not shutil.which("dot"), reason="graphviz is not installed")


def edges(picture):
    return {(edge.source, edge.target): edge for edge in picture.edges}


def nodes(picture):
    return {node.name: node for site in picture.sites for node in site.nodes}


def test_from_the_file_alone_there_are_all_members_all_links_and_each_host_s_first_hubs():
    found = edges(drawn("lab3", LAB3))
    assert len([edge for edge in found.values() if edge.kind == "link"]) == 6
    assert [edge.kind for (source, _), edge in found.items() if source == "web-1"] == ["tunnel", "spare"]
    assert ("web-4", "tokyo/a") in found and {edge.state for edge in found.values()} == {PLANNED}


def test_live_shows_the_tunnels_that_there_are_and_what_is_down():
    picture = drawn("lab3", LAB3, SEEN)
    found = edges(picture)
    assert (found["web-1", "oregon/a"].kind, found["web-1", "oregon/a"].distance) == ("tunnel", "near")
    assert (found["web-1", "paris/a"].kind, found["web-1", "paris/a"].state) == ("spare", DOWN)
    assert ("web-1", "oregon/b") not in found, "that is only where the file would have it"
    assert found["db-2", "oregon/b"].distance == "very far"
    assert (found["oregon/a", "oregon/b"].state, found["oregon/a", "oregon/b"].rtt_ms) == (UP, 2.0)
    assert found["oregon/a", "paris/a"].state == DOWN, "one direction that fails makes the link fail"
    assert found["oregon/b", "paris/a"].state == UNSEEN, "neither end could be asked"
    assert found["oregon/a", "tokyo/a"].state == PLANNED and nodes(picture)["web-4"].state == PLANNED, "not up yet"


def test_a_link_that_is_down_is_no_mere_matter_of_colour():
    picture = drawn("lab3", LAB3, SEEN)
    (line,) = [line for line in dot(picture).splitlines() if '"oregon/a" -- "paris/a"' in line]
    assert DEAD in line and "dashed" in line and ">down<" in line
    text = mermaid(picture).splitlines()
    (at,) = [at for at, edge in enumerate(picture.edges) if (edge.source, edge.target) == ("oregon/a", "paris/a")]
    assert f"  linkStyle {at} stroke:{DEAD}" in text and '  u_oregon__a ===|"down"| u_paris__a' in text


def test_sites_of_many_hosts_grow_downwards():
    hosts = {f"web-{at}": {"role": "web", "id": at} for at in range(1, 20)}
    site = {"id": 1, "cloud": "lab", "region": "here", "hubs": {"a": {"id": 1}}, "hosts": hosts}
    overlay = {"ipv4": "10.100.0.0/16", "ipv6": "fd5c:ab1e::/48"}
    large = load({"overlay": overlay, "roles": {"web": {"id": 1}}, "sites": {"oregon": site}}, {"lab"})
    assert "rankdir=LR" in dot(drawn("large", large)), "19 hosts side by side are wider than any screen"
    assert "rankdir=TB" in dot(drawn("lab3", LAB3))


def test_a_drained_hub_and_a_lost_host_say_why():
    picture = drawn("lab3", LAB3, SEEN)
    for text in (dot(picture), mermaid(picture)):
        assert "draining" in text and FILLS[UNFIT] in text and FILLS[DOWN] in text
    assert "SSH: 'no' <route>" in dot(picture) and "SSH: 'no' &lt;route>" in mermaid(picture)


@needs_dot
def test_the_svg_has_every_member_and_the_colours_of_distance():
    picture = drawn("lab3", LAB3, SEEN)
    tree = ET.fromstring(image(picture, "svg"))
    texts = {element.text for element in tree.iter("{http://www.w3.org/2000/svg}text")}
    assert {"oregon/a", "web-4", "db-1 (private)", "5.0 ms", "oregon (lab us-west)"} <= texts
    strokes = {element.get("stroke") for element in tree.iter("{http://www.w3.org/2000/svg}path")}
    assert {STROKES["near"], STROKES["very far"], DEAD} <= strokes


@needs_dot
def test_the_png_is_one():
    assert image(drawn("lab3", LAB3), "png").startswith(b"\x89PNG\r\n")


@settings(max_examples=40, deadline=None)
@given(stacks())
def test_any_stack_is_drawn_with_each_member_once_and_each_edge_between_two_of_them(values):
    topology = load(values, {"lab"})
    picture = drawn("any", topology)
    names = [node.name for site in picture.sites for node in site.nodes]
    assert sorted(names) == sorted([hub.key for hub in topology.hubs] + [host.name for host in topology.hosts])
    text = mermaid(picture)
    declared = re.findall(r"^    ([uh]_\w+)[\[({]", text, re.MULTILINE)
    assert len(declared) == len(set(declared)) == len(names)
    for one, other in re.findall(r"^  ([uh]_\w+) (?:===|---|-\.-) ([uh]_\w+)$", text, re.MULTILINE):
        assert {one, other} <= set(declared)
    assert len(re.findall(r" (?:===|---|-\.-) ", text)) == len(picture.edges)
    assert not drawn("any", topology, with_hosts=False).edges or all(
        edge.kind == "link" for edge in drawn("any", topology, with_hosts=False).edges
    )


def test_pings_last_line_gives_the_shortest_round_trip():
    pings = {7: f"{PING_LINK} ::1", 8: f"{PING_LINK} -c 1 100::1"}
    shown = subprocess.run(["sh", "-c", all_at_once(pings)], capture_output=True, text=True).stdout
    found = round_trips(shown)
    assert set(found) == {7} and 0 < found[7] < 1000, shown


def run(*arguments):
    return CliRunner().invoke(cli.app, ["topology", *arguments])


def test_a_file_says_its_format_by_its_end(tmp_path):
    assert run("lab3", "-o", str(tmp_path / "net.md")).exit_code == 0
    assert (tmp_path / "net.md").read_text().startswith("```mermaid\ngraph LR\n")
    assert run("lab3", "-o", str(tmp_path / "net.dot")).exit_code == 0
    assert (tmp_path / "net.dot").read_text().startswith("graph")
    assert run("lab3", "-o", str(tmp_path / "net.jpeg")).exit_code == 2


def test_for_programs_and_on_a_terminal_it_is_text():
    assert len(json.loads(run("lab3", "--json").stdout)["edges"]) == 18
    assert run("lab3").stdout.startswith("graph LR")
    assert "web-1" not in run("lab3", "--no-hosts").stdout


def test_without_graphviz_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    told = run("lab3", "-f", "svg")
    assert told.exit_code == 1 and "apt-get install graphviz" in told.stderr
