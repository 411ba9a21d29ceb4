"""For the tests of the package as others use it."""

import pytest

from tests.library.outside import Outside


@pytest.fixture(scope="session")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Outside:
    return Outside(tmp_path_factory.mktemp("outside"))
