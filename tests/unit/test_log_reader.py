"""Looking up many tags: in how many queries."""

from collections.abc import Mapping, Sequence

from services.sealing.reader import MOST_QUERIES, Found, LogReader


class Counting(LogReader):
    """Finds nothing, and counts the queries."""

    def __init__(self) -> None:
        super().__init__(None)  # type: ignore[arg-type]  # no query reaches the store
        self.asked: list[bytes] = []
        self.queries = 0

    async def _find_few(self, sizes: Mapping[str, int], tags: Sequence[bytes]) -> dict[str, Found]:
        self.queries += 1
        self.asked += tags
        return {log: {each: {} for each in tags} for log in sizes}


async def test_many_tags_are_not_many_queries() -> None:
    # The 20,000 tags of one record were 2,500 queries, each of which read and held the record's 4 MiB: a trace took 4.6 GB.
    reader = Counting()
    tags = [number.to_bytes(16, "big") for number in range(20_000)]
    assert set(await reader.find(tags, {"goods/0": 1}, 10)) == set(tags)
    assert reader.queries <= MOST_QUERIES
    assert reader.asked == tags
