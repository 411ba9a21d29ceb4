"""Plugins end with the engine that started them."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STANDINS = [f"engine/standins/bin/{name}/pulumi-resource-{name}" for name in ("tls", "command", "aws", "linode")]
PLUGINS = [*STANDINS, "lab/pulumi-resource-lab"]


@pytest.mark.parametrize("plugin", PLUGINS)
def test_a_plugin_whose_engine_was_killed_is_gone_soon_after(plugin):
    program = "import subprocess, sys; p = subprocess.Popen(sys.argv[1:]); print(p.pid, flush=True); p.wait()"
    command = [sys.executable, "-c", program, plugin, "127.0.0.1:1"]
    engine = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    child = int(engine.stdout.readline())
    port = int(engine.stdout.readline())  # it serves
    assert port
    engine.kill()
    engine.wait()
    deadline = time.monotonic() + 10
    while os.path.exists(f"/proc/{child}") and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not os.path.exists(f"/proc/{child}"), "an orphan would stay until the computer is restarted"
