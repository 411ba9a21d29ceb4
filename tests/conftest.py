"""For all tests."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

# An Output that becomes text by mistake raises here instead of shipping "Calling __str__ on an Output[T]...".
os.environ["PULUMI_ERROR_OUTPUT_STRING"] = "true"
# Started in the background: see engine.background. It stays in its group, so that it can be ended with that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
ONE_STACK = "tests/lab/attacks"  # a package whose files share a stack
REAL = ("tests/engine/", "tests/daemons/", "tests/library/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.nodeid.startswith(REAL):
            item.add_marker("real")


class ByStack(LoadScopeScheduling):
    """Keeps a file's tests, and those of a package that shares one stack, with one of the processes side by side.

    Groups by xdist's own mark do not work with pytest 9.2, which no longer reads the name that xdist writes.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return ONE_STACK if Path(file).is_relative_to(ONE_STACK) else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByStack:
    return ByStack(config, log)
