"""A read storm on the trace page: one row that says how often and from when to when, and holds every read."""

import re

import pytest

from tests.unit.test_web_sections import page_of, text_of
from tests.web_world import ITEM_KEY, WebWorld, storm

SAID = {
    "en": (
        "Read 12 times, from 14 Apr 2026, 10:00:00 +08:00 to 14 Apr 2026, 10:00:05 +08:00",
        "All 12 reads",
    ),
    "zh-Hans": (
        "读取 12 次，2026年4月14日 10:00:00 +08:00 至 2026年4月14日 10:00:05 +08:00",
        "全部 12 次读取",
    ),
    "zh-Hant": (
        "讀取 12 次，2026年4月14日 10:00:00 +08:00 至 2026年4月14日 10:00:05 +08:00",
        "全部 12 次讀取",
    ),
}


@pytest.mark.parametrize("language", SAID)
async def test_a_storm_is_one_row_that_holds_every_read(language: str) -> None:
    page = await page_of(WebWorld(more=storm(12)), language)
    assert page.count('<li class="reads') == 1
    row = page[page.index('<li class="reads') :]
    summary = row[row.index("<summary>") : row.index("</summary>")]
    inside = row[row.index("</summary>") : row.index("</ol>\n  </details>")]
    for said in SAID[language]:
        assert said in text_of(summary)
    assert inside.count('<li class="event') == 12
    numbers = [int(each) for each in re.findall(r'id="event-(\d+)"', page)]
    assert numbers == list(range(1, 26)), "each event keeps its number"
    assert len(re.findall(r'class="seal" data-place="', page)) == 25


async def test_a_storm_in_two_partitions_is_one_row_and_two_storms_are_two() -> None:
    both = [*storm(6), *storm(6, first=220)]
    page = await page_of(WebWorld(more=both))
    assert page.count('<li class="reads') == 1
    apart = [*storm(6), *storm(6, first=220, disposition="sellable_accessible")]
    assert (await page_of(WebWorld(more=apart))).count("Read 6 times") == 0, (
        "they take turns, and say different things"
    )


async def test_where_nothing_repeats_nothing_is_put_together() -> None:
    assert '<li class="reads' not in await page_of(WebWorld())
    assert '<li class="reads' not in await page_of(WebWorld(more=storm(1)))


async def test_a_page_that_ends_within_a_storm_shows_its_part_of_it() -> None:
    world = WebWorld(more=storm(12), events_on_page=15)
    first = await page_of(world)
    [next_page] = re.findall(r'href="[^"]*?&amp;page=([^"]+)" rel="next"', first)
    second = await page_of(world, query=f"&page={next_page}")
    counts = [int(each) for page in (first, second) for each in re.findall(r"Read (\d+) times", page)]
    assert sum(counts) == 12
    assert len(counts) == 2


async def test_what_rules_found_in_every_read_stands_on_the_row() -> None:
    expired = f"{ITEM_KEY}?17=260101"
    page = await page_of(WebWorld(more=storm(6, epcList=[expired])))
    summary = page[page.index("<summary>", page.index('<li class="reads')) :]
    summary = summary[: summary.index("</summary>")]
    assert "critical · Expired" in text_of(summary)
    assert "Read 6 times" in text_of(summary)
