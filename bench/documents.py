"""Puts a bench's table into a document, in place of the one that stands there, and says on what it was made."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path


def computer() -> str:
    """Return on what a bench ran: "2 cores, Linux 6.1.0, OpenVPN 2.6.14"."""
    openvpn = subprocess.run(["openvpn", "--version"], capture_output=True, text=True).stdout.split()[1]
    return f"{os.cpu_count()} cores, Linux {platform.release()}, OpenVPN {openvpn}"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table as Markdown has it; the first column is text, the others are figures."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write(document: Path, bench: str, title: str, command: str, text: str) -> None:
    """Write what a command made between a bench's two marks."""
    begin, end = f"<!-- {bench} -->", f"<!-- end of {bench} -->"
    old = document.read_text() if document.exists() else f"# {title}\n"
    if begin not in old:
        old += f"\n{begin}\n{end}\n"
    made = "\n".join([begin, f"Made by `{command}`:", "", text, end])
    document.write_text(re.sub(f"{re.escape(begin)}.*{re.escape(end)}", lambda _: made, old, flags=re.DOTALL))
