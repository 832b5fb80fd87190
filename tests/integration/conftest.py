"""What integration tests share."""

from collections.abc import Callable

import pytest

from tests.crash_campaign import Covered


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Callable[[str, Covered], None]:
    """Prints what a campaign covered, past what pytest captures."""

    def tell(name: str, covered: Covered) -> None:
        with capsys.disabled():
            print(f"\n{name}: {covered}")

    return tell
