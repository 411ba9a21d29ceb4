"""Leaves out what Pulumi's SDK does for every resource and this program has no use for.

A host is ten resources, so at a thousand hosts this is nearly all of the program's time (`bench/program`).
"""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Awaitable, Callable, Mapping

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


def once_begun(
    outputs: Mapping[str, object] | Awaitable[Mapping[str, object]],
) -> Callable[[], Awaitable[Mapping[str, object]]]:
    """Return what `pulumi.run` takes, for a program that has declared everything and has, or will have, these outputs.

    The SDK first waits for the registrations that have begun, one after the other, and then for all values that are
    not known yet, all of them again for each that comes: the square of their number. At the end of a program no
    registration has begun, so it waits in the second way for everything. One turn of the loop later all have begun.
    """

    async def begun() -> Mapping[str, object]:
        await asyncio.sleep(0)
        return outputs if isinstance(outputs, Mapping) else await outputs

    return begun
