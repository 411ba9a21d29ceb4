"""For all tests."""

import os

import pytest

# An Output that becomes text by mistake raises here instead of shipping "Calling __str__ on an Output[T]...".
os.environ["PULUMI_ERROR_OUTPUT_STRING"] = "true"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep a file's tests, and those of a package that shares one stack, with one of the processes side by side."""
    for item in items:
        package = item.path.parent
        group = package.name if package.name == "attacks" else item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group(group))
