"""A server that lies of reads, in Chromium: events that are no run of reads, shown as one row, turn red though each of them verifies by itself."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, Page

from goodstrace.facts import READ_GAP_US, Correction, Quantity, Repeat, Role, Severity, Typed, Verdict
from goodstrace.read_runs import runs, said
from services.collector.flow import StageName, to_wire
from services.collector.stages import Span
from services.query.web.trace_view import ShownEvent, ShownTrace
from services.runtime.envelope import Record
from tests.browsers import needs_chromium, opening
from tests.interop.test_web_browser import state
from tests.unit.collector_builders import collected, document, events_of, fresh_state, items_of, seeded, wires
from tests.web_world import PREFIXES, SHOP, WORKS, WebWorld, _seen, place

pytestmark = needs_chromium
START_US: Final = 1_776_132_000_000_000
YEARS_US: Final = 3 * 365 * 86_400 * 10**6
CRITICAL: Final = (Verdict("storage-too-warm", Severity.CRITICAL, "", "9 CEL is above the highest storage temperature stated, 8 degrees Celsius"),)  # fmt: skip
OWNER: Final = (Typed(f"https://id.gs1.org/417/{PREFIXES[SHOP]}000005", "owning_party"),)
Changes = tuple[dict[str, Any], dict[str, Any]]
"""What the facts of the first event say otherwise, and those of the second, beside that it repeats the first."""
TRUE: Final[dict[str, Changes]] = {
    "a minute apart": ({}, {}),
    "at once": ({}, {"time_us": START_US}),
    "the first one linked": ({"repeats": Repeat("urn:x:0", 2)}, {"repeats": None}),
}
LIES: Final[dict[str, Changes]] = {
    "sensors that added, years apart": ({"action": "ADD", "sensor_reports": 1}, {"action": "ADD", "sensor_reports": 1, "time_us": START_US + YEARS_US, "verdicts": CRITICAL}),
    "added": ({"action": "ADD"}, {"action": "ADD"}),
    "of another kind": ({"type": "TransactionEvent"}, {"type": "TransactionEvent"}),
    "corrections": ({"correction": Correction("00" * 32, 1)}, {"correction": Correction("00" * 32, 1)}),
    "reports of sensors": ({"sensor_reports": 1}, {"sensor_reports": 1}),
    "none repeats": ({}, {"repeats": None}),
    "over a minute apart": ({}, {"time_us": START_US + READ_GAP_US + 1}),
    "in another order": ({}, {"time_us": START_US - 1}),
    "another action": ({}, {"action": "DELETE"}),
    "another step": ({}, {"step": "sale"}),
    "another business step": ({}, {"business_step": "storing"}),
    "another disposition": ({}, {"disposition": "damaged"}),
    "read elsewhere": ({}, {"read_point": "https://id.gs1.org/414/0000000000000"}),
    "another place": ({}, {"business_location": "https://id.gs1.org/414/0000000000000"}),
    "an order": ({}, {"transactions": (Typed("https://erp.example/1", "po"),)}),
    "a source": ({}, {"sources": OWNER}),
    "a destination": ({}, {"destinations": OWNER}),
    "a flag": ({}, {"flags": ("future-time",)}),
    "a verdict": ({}, {"verdicts": CRITICAL}),
    "another quantity": (
        {"quantities": {Role.CLASS: (Quantity("urn:x:rice", "1", "KGM"),)}},
        {"quantities": {Role.CLASS: (Quantity("urn:x:rice", "2", "KGM"),)}},
    ),
}  # fmt: skip


_UP_TO_CLASSIFY: Final = Span(StageName.SUMMARISE, StageName.CLASSIFY)
_STORE: Final = Span(StageName.STORE, StageName.STORE)


def _item(number: int) -> str:
    return f"urn:epc:id:sgtin:{PREFIXES[WORKS]}.000201.{5000 + number}"


def _path(number: int) -> str:
    return f"/01/07038011002013/21/{5000 + number}"


def _pair(number: int, changes: Changes) -> list[Record]:
    """Two events of an item, the facts of which say what the lie is about."""
    reads = [
        _seen(5000 + 2 * number + each, "2026-04-14T02:00:00Z", "stocking", SHOP, "+08:00", _item(number), readPoint={"id": place(SHOP)})
        for each in range(2)
    ]  # fmt: skip
    made = collected(document(*reads), merchant=SHOP, random=seeded(f"pair/{number}"))
    classified = items_of(_UP_TO_CLASSIFY.run(fresh_state(), wires(made)))
    one = {"time_us": START_US, "repeats": None, **changes[0]}
    other = {"time_us": START_US + READ_GAP_US, "repeats": Repeat(str(reads[0]["eventID"]), 2), **changes[1]}
    lying = [to_wire(item.with_facts(**told)) for item, told in zip(classified, (one, other), strict=True)]
    return [each.record for each in items_of(_STORE.run(fresh_state(), lying))]


PAIRS: Final = {name: _pair(number, changes) for number, (name, changes) in enumerate({**TRUE, **LIES}.items())}  # fmt: skip


@pytest.fixture(scope="module")
def opened(browser: Browser) -> Iterator[Callable[..., Page]]:
    def in_one_row(trace: ShownTrace) -> list[Sequence[ShownEvent]]:
        return [sorted(trace.events, key=lambda each: each.entry_id not in firsts)]

    firsts = {pair[0].id.hex() for pair in PAIRS.values()}

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ShownTrace, "rows", in_one_row)
        world = WebWorld(
            (), more=[record for pair in PAIRS.values() for record in pair], looks_per_min=10_000
        )
        with world.served() as url, opening(browser, url) as new:
            yield new


def _opened(opened: Callable[..., Page], name: str) -> tuple[str | None, Page]:
    page = opened()
    page.goto(_path(list(PAIRS).index(name)))
    told = state(page)
    assert page.locator(".reads .event .seal[data-state=good]").count() == 2, "each verifies by itself"
    return told, page


@pytest.mark.parametrize("name", TRUE)
def test_reads_that_repeat_each_other_are_green(opened: Callable[..., Page], name: str) -> None:
    told, page = _opened(opened, name)
    assert told == "good", page.text_content("#proof-status")


@pytest.mark.parametrize("name", LIES)
def test_what_is_no_run_of_reads_is_red(opened: Callable[..., Page], name: str) -> None:
    told, page = _opened(opened, name)
    assert told == "bad"
    assert page.locator(".reads .seal[data-reads][data-state=bad]").count() == 1


@pytest.mark.parametrize("name", PAIRS)
def test_the_script_agrees_with_what_puts_reads_together(name: str) -> None:
    pair = [each.facts for each in events_of(PAIRS[name])]
    rows = runs(pair, lambda facts: said(facts, ()))
    assert (len(rows) == 1) == (name in TRUE) or name == "in another order"
