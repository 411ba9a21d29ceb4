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


WAITING = """
import asyncio, sys
import pulumi
from pulumi.runtime import settings, stack
from components import lean
from components.clouds import known_clouds
from components.mesh import Mesh, MeshArgs
from components.model.stackfile import load
from tests.components.declared import Monitor, Recorder, lab_values
waited, wait = 0, asyncio.wait
def counted(tasks, **options):
    global waited
    waited += len(tasks)
    return wait(tasks, **options)
asyncio.wait = counted
recorder = Recorder()
asyncio.set_event_loop(asyncio.new_event_loop())
pulumi.runtime.set_mocks(recorder, monitor=Monitor(recorder))
# As a language host begins: with no stack resource, and no registration under way.
settings.set_root_resource(None)
def program():
    settings._get_rpc_manager().rpcs.clear()
    outputs = Mesh("m", MeshArgs(load(lab_values(), known_clouds()), {})).stack_outputs()
    if "lean" in sys.argv:
        pulumi.run(lean.once_begun(outputs))
    else:
        for name, value in outputs.items():
            pulumi.export(name, value)
asyncio.get_event_loop().run_until_complete(stack.run_in_stack(program))
print(len(recorder.made), waited)
"""


def test_the_end_of_the_program_does_not_wait_for_all_values_anew_for_each_that_comes():
    """The square of a network's size, and most of the time at a thousand hosts."""
    run = [sys.executable, "-W", "ignore", "-c", WAITING]
    lean = subprocess.run([*run, "lean"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    before = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert lean[0] == before[0], "the same network"
    assert int(before[1]) > 100 * int(before[0]), "the SDK does so no more: take the cure out"
    assert int(lean[1]) < int(lean[0])
