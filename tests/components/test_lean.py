"""What components/lean.py leaves out. In a process of its own: it changes the SDK for good."""

import subprocess
import sys

from tests.components.declared import ROOT

PROGRAM = """
import gc, sys
from pulumi.runtime import mocks
from components import lean
messages = []
mocks.MockEngine.Log = lambda self, request: messages.append(request)
if "lean" in sys.argv:
    lean.begin()
from tests.components.declared import declare, lab_values
options = declare(lab_values()).options
frames = sum(len(request.stackTrace.frames) for request in options.values())
print(len(options), len(messages), frames, gc.isenabled())
"""


def counted(*arguments):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_the_sdk_tells_the_engine_nothing_that_is_thrown_away():
    resources, messages, frames, collects = counted("lean")
    assert (messages, frames, collects) == ("0", "0", "False")
    before = counted()
    assert before[0] == resources, "the same network"
    assert int(before[1]) > 2 * int(resources) and int(before[2]) > 0, "the SDK does so no more: take the cure out"
