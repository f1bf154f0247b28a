"""Fixtures of the whole-system tests."""

from collections.abc import Iterator

import pytest

from tests.stack import Stack, running_stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One running SEP for all tests that look at it from outside."""
    with running_stack(tmp_path_factory.mktemp("var")) as running:
        yield running
