"""Leaves out what Pulumi's SDK does for every resource and this program has no use for.

A host is ten resources, so at a thousand hosts these are half of the program's time (`bench/program`).
"""

from __future__ import annotations

import gc
import os

import pulumi
from pulumi.runtime import resource as registration
from pulumi.runtime.proto import source_pb2

DEBUG = "VCUBEV_DEBUG"  # set it to see the SDK's messages by `pulumi up --debug`


def begin() -> None:
    """Take effect for the rest of this process."""
    # The program makes objects until it ends: a collection looks at all of them and frees next to none.
    gc.disable()
    if DEBUG in os.environ:
        return
    # Each is a call to the engine that the program waits for, four for a resource, and the engine throws them away.
    pulumi.log.debug = lambda *_, **__: None
    # Who declared a resource, all of the stack, goes into the state: 2 kB for each.
    registration._get_stack_trace = source_pb2.StackTrace
