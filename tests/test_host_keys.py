"""Nothing in this tree speaks SSH to a machine whose key it does not know."""

import ast
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
HERE = Path(__file__).relative_to(ROOT)
# How SSH clients are told to take any key.
CARELESS = re.compile(
    r"StrictHostKeyChecking[ =\"',]+(no|off|accept-new)|UserKnownHostsFile[ =\"',]+/dev/null|known_hosts\W+None"
    r"|InsecureIgnoreHostKey|AutoAddPolicy|WarningPolicy|NoHostAuthenticationForLocalhost[ =]+yes",
    re.IGNORECASE,
)
# The stand-in does what the official plugin does; that no connection of ours comes to this is the next test.
ALLOWED = {("engine/standins/ssh.py", 'known_hosts": None')}
# Call -> the argument that says which key.
PINNED_BY = {"ConnectionArgs": "host_key", "ProxyConnectionArgs": "host_key"}


def sources():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in listed.splitlines():
        if name not in (str(HERE), "uv.lock") and not name.endswith((".sum", ".ambr")):
            yield name, (ROOT / name).read_text(errors="replace")


def test_no_connection_takes_any_host_key():
    found = {(name, match[0]) for name, text in sources() for match in CARELESS.finditer(text)}
    assert found == ALLOWED


def test_every_connection_names_the_key_that_it_expects():
    seen = 0
    for name, text in sources():
        if not name.endswith(".py") or name.startswith("engine/standins/"):
            continue
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.Call) or not isinstance(node.func, (ast.Attribute, ast.Name)):
                continue
            called = ast.unparse(node.func)
            wanted = "known_hosts" if called == "asyncssh.connect" else PINNED_BY.get(called.rpartition(".")[2])
            if wanted is None:
                continue
            seen += 1
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            assert given.get(wanted, "None") != "None", f"{name}:{node.lineno} takes any key: no {wanted}"
    assert seen >= 3, "the search would find nothing"


def test_a_careless_line_would_be_found():
    for line in (
        "ssh -o StrictHostKeyChecking=no web-1",
        '"-o", "StrictHostKeyChecking", "no"',
        "-o UserKnownHostsFile=/dev/null",
        "asyncssh.connect(host, known_hosts=None)",
        "client.set_missing_host_key_policy(paramiko.AutoAddPolicy())",
    ):
        assert CARELESS.search(line), line
