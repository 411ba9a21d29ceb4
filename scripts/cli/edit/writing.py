"""How new entries of a stack file are written: as those that are there."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from typing import Any

from ruamel.yaml import YAML

INDENT = 2
LONGEST_LINE = 110


def lines(name: str, value: Any, column: int) -> Iterator[str]:
    """Write an entry of a block: on one line if it fits, else its own entries below it."""
    line = f"{' ' * column}{written(name)}: {written(value)}\n"
    nested = isinstance(value, dict) and any(isinstance(inner, dict) for inner in value.values())
    if isinstance(value, dict) and value and (nested or len(line) > LONGEST_LINE):
        yield f"{' ' * column}{written(name)}:\n"
        for inner, inner_value in value.items():
            yield from lines(inner, inner_value, column + INDENT)
    else:
        yield line


def written(value: Any) -> str:
    """Write a value on one line, quoted where that is due within braces."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{written(name)}: {written(inner)}' for name, inner in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(written, value))}]"
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style, yaml.width = True, 1 << 20
    out = StringIO()
    yaml.dump([value], out)
    return out.getvalue().strip()[1:-1]


def reindented(lines: str, before: int, after: int) -> str:
    return "".join(
        f"{' ' * after}{line[before:]}" if not line[:before].strip() else line for line in lines.splitlines(True)
    )
