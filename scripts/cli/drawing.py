"""Pictures as text: for graphviz and for Mermaid."""

from __future__ import annotations

import subprocess
import textwrap
from collections.abc import Iterator

from scripts.cli.picture import DOWN, PLANNED, UNFIT, UNSEEN, UP, Edge, Node, Picture

# Told apart by lightness as well, for those who see no red and green.
STROKES = {"near": "#1a7f37", "far": "#9a6700", "very far": "#cf5a00", "": "#57606a"}
DEAD = "#cf222e"
FILLS = {PLANNED: "#ffffff", UP: "#dafbe1", UNFIT: "#fff8c5", DOWN: "#ffebe9", UNSEEN: "#f6f8fa"}
BORDERS = {PLANNED: "#57606a", UP: "#1a7f37", UNFIT: "#9a6700", DOWN: DEAD, UNSEEN: "#57606a"}
# A site's hosts stand side by side, which reads best, until the picture is wider than screens are.
SIDE_BY_SIDE_HOSTS = 8
# A long reason would make its machine the largest of all; JSON has it whole.
WHY_CHARACTERS, WHY_LINES = 32, 3
SHAPES = {"hub": "hexagon", "host": "box", "private": "box", "unmanaged": "ellipse"}


class NoGraphviz(Exception):
    """The program `dot` is not there, or did not do it."""


def dot(picture: Picture) -> str:
    """Return the picture in graphviz's language."""
    most = max((sum(node.kind != "hub" for node in site.nodes) for site in picture.sites), default=0)
    direction = "TB" if most <= SIDE_BY_SIDE_HOSTS else "LR"
    lines = [
        f'graph "{picture.title}" {{',
        f'  graph [rankdir={direction}, nodesep=0.25, ranksep=1.1, bgcolor=white, fontname="Helvetica"]',
        '  node [fontname="Helvetica", fontsize=11, style="filled,rounded"]',
        '  edge [fontname="Helvetica", fontsize=9]',
    ]
    for site in picture.sites:
        place = " ".join(filter(None, (site.cloud, site.region)))
        lines += [
            f'  subgraph "cluster_{site.name}" {{',
            f'    label="{site.name} ({place})"; color="#d0d7de"; style=rounded; labeljust=l',
        ]
        lines += [f"    {_dot_node(node)}" for node in site.nodes]
        lines.append("  }")
    lines += [f"  {_dot_edge(edge)}" for edge in picture.edges]
    return "\n".join([*lines, "}", ""])


def image(picture: Picture, form: str) -> bytes:
    """Return the picture as graphviz draws it.

    Args:
        form: "svg" or "png".

    Raises:
        NoGraphviz: See there.
    """
    try:
        # A picture for screens: twice as fine as graphviz's 96 dots an inch, for small letters.
        done = subprocess.run(
            ["dot", f"-T{form}", *(["-Gdpi=144"] if form == "png" else [])],
            input=dot(picture).encode(),
            capture_output=True,
            timeout=120,
        )
    except FileNotFoundError:
        raise NoGraphviz("graphviz is not installed: apt-get install graphviz. Mermaid and dot need it not.") from None
    except subprocess.TimeoutExpired:
        raise NoGraphviz("graphviz needs more than two minutes for so large a picture: try --no-hosts.") from None
    if done.returncode:
        raise NoGraphviz(f"graphviz: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def mermaid(picture: Picture) -> str:
    """Return the picture in Mermaid's language, which GitHub and GitLab draw within Markdown."""
    lines = ["graph LR"]
    for site in picture.sites:
        place = " ".join(filter(None, (site.cloud, site.region)))
        lines.append(f'  subgraph s_{_id(site.name)}["{site.name} ({place})"]')
        lines += [f"    {_mermaid_node(node)}" for node in site.nodes]
        lines.append("  end")
    lines += [f"  {_mermaid_edge(edge)}" for edge in picture.edges]
    lines += [
        f"  linkStyle {at} stroke:{_stroke(edge)}" for at, edge in enumerate(picture.edges) if edge.state != PLANNED
    ]
    for state in sorted({node.state for site in picture.sites for node in site.nodes} - {PLANNED}):
        names = [_node_id(node) for site in picture.sites for node in site.nodes if node.state == state]
        lines.append(f"  classDef {state} fill:{FILLS[state]},stroke:{BORDERS[state]}")
        lines.append(f"  class {','.join(names)} {state}")
    return "\n".join([*lines, ""])


def _labels(node: Node) -> Iterator[str]:
    yield f"{node.name} ({node.kind})" if node.kind in ("private", "unmanaged") else node.name
    yield " ".join(filter(None, (node.role, node.address)))
    if node.state in (DOWN, UNFIT):
        yield from textwrap.wrap(node.why or node.state, WHY_CHARACTERS)[:WHY_LINES]


def _edge_label(edge: Edge) -> str:
    if edge.state == DOWN:
        return "down"
    return "" if edge.rtt_ms is None else f"{edge.rtt_ms:.1f} ms"


def _stroke(edge: Edge) -> str:
    return DEAD if edge.state == DOWN else STROKES[edge.distance]


def _dot_node(node: Node) -> str:
    label = "\\n".join(part.replace("\\", "").replace('"', "'") for part in _labels(node))
    dashed = ', style="filled,rounded,dashed"' if node.kind in ("private", "unmanaged") else ""
    return (
        f'"{node.name}" [label="{label}", shape={SHAPES[node.kind]}, fillcolor="{FILLS[node.state]}", '
        f'color="{BORDERS[node.state]}"{dashed}]'
    )


def _dot_edge(edge: Edge) -> str:
    width = {"link": 2.5, "tunnel": 1.2, "spare": 0.8}[edge.kind]
    style = "dashed" if edge.state == DOWN else "dotted" if edge.kind == "spare" else "solid"
    told = _edge_label(edge)
    # On white, so that no line runs through it.
    label = f'<<table border="0" cellspacing="0" bgcolor="white"><tr><td>{told}</td></tr></table>>' if told else '""'
    return (
        f'"{edge.source}" -- "{edge.target}" [label={label}, color="{_stroke(edge)}", '
        f'fontcolor="{_stroke(edge)}", penwidth={width}, style={style}]'
    )


def _mermaid_node(node: Node) -> str:
    label = "<br/>".join(part.replace('"', "'").replace("<", "&lt;") for part in _labels(node))
    left, right = ("{{", "}}") if node.kind == "hub" else ("[", "]") if node.kind == "host" else ("(", ")")
    return f'{_node_id(node)}{left}"{label}"{right}'


def _mermaid_edge(edge: Edge) -> str:
    line = {"link": "===", "tunnel": "---", "spare": "-.-"}[edge.kind]
    label = _edge_label(edge)
    ends = [f"{'u' if '/' in name else 'h'}_{_id(name)}" for name in (edge.source, edge.target)]
    told = f'|"{label}"|' if label else ""
    return f"{ends[0]} {line}{told} {ends[1]}"


def _node_id(node: Node) -> str:
    return f"{'u' if node.kind == 'hub' else 'h'}_{_id(node.name)}"


def _id(name: str) -> str:
    """Mermaid's own words (end, graph) and dashes make no ids."""
    return name.replace("-", "_").replace("/", "__")
