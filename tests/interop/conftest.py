"""What the tests in a browser share."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.browsers import launched


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium as it is; a file that wants it with a camera has a fixture of its own."""
    with launched() as running:
        yield running
