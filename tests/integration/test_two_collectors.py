"""Two collectors on one Kafka and one store: a merchant has its rate once, and a prefix has one merchant."""

import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from deploy.stack import Stack
from tests.conftest import Names
from tests.integration.test_collector import Collector, until
from tests.unit.collector_builders import document, object_event

OPERATOR = "operator-token-of-this-test"
PER_S, BURST_S = 5, 20
QUIET = {"GOODSTRACE_COLLECTOR_INGRESS": "false", "GOODSTRACE_COLLECTOR_STATES": "false"}


@pytest.fixture
def two(stack: Stack, names: Names, tmp_path: Path) -> Iterator[list[Collector]]:
    """Both take captures and share the stages."""
    token = tmp_path / "operator-token"
    token.write_text(OPERATOR)
    running = []
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        running.append(Collector(stack, names, folder))
        running[-1].launch(
            GOODSTRACE_ACCOUNTS="required",
            GOODSTRACE_OPERATOR_TOKEN_FILE=str(token),
            GOODSTRACE_COLLECTOR_INSTANCE=str(number),
            GOODSTRACE_COLLECTOR_RATE_BURST_S=str(BURST_S),
            **QUIET,
        )
    try:
        for each in running:
            until(each._ready, "the collector is ready")
        yield running
    finally:
        for each in running:
            each.close()


def operate(at: Collector, method: str, path: str, **arguments: object) -> httpx.Response:
    return at.http.request(
        method,
        f"/registry/v1/{path}",
        headers={"authorization": f"Bearer {OPERATOR}"},
        **arguments,  # type: ignore[arg-type]
    )


def test_a_prefix_has_one_merchant_and_a_merchant_one_rate(
    two: list[Collector], tell: Callable[[str], None]
) -> None:
    def register(number: int) -> int:
        content = {"name": f"M{number}", "prefixes": ["0614141" if number % 2 else "06141412"]}
        return operate(two[number % 2], "POST", "merchants", json=content).status_code

    with ThreadPoolExecutor(4) as pool:
        assert Counter(pool.map(register, range(4))) == {201: 1, 409: 3}

    limits = {"eventsPerS": PER_S}
    made = operate(
        two[0], "POST", "merchants", json={"name": "Ann", "prefixes": ["4012345"], "limits": limits}
    )
    key = operate(two[1], "POST", f"merchants/{made.json()['merchant']}/keys").json()["apiKey"]

    def taken(at: Collector, count: int) -> int:
        """How many of so many events a collector takes."""
        found = 0
        for _ in range(count // 5):
            body = document(*(object_event(eventID=f"urn:uuid:{uuid.uuid4()}") for _ in range(5)))
            answer = at.post(body, authorization=f"Bearer {key}")
            assert answer.status_code in (202, 429), answer.text
            found += 5 * (answer.status_code == 202)
        return found

    burst, begun_s = PER_S * BURST_S, time.monotonic()
    first = taken(two[0], 2 * burst)
    assert burst <= first <= burst + PER_S * (time.monotonic() - begun_s) + 5
    time.sleep(2.5)  # it has told, and the other one looks when it meets the merchant
    second = taken(two[1], 2 * burst)
    assert second <= PER_S * (time.monotonic() - begun_s) + 5 - (first - burst), (first, second)
    tell(
        f"a merchant of {PER_S} events a second and a burst of {burst} at two collectors: {first} taken by one, then {second} by the other "
        f"in {time.monotonic() - begun_s:.1f} s"
    )
