"""What readers remember is bounded by bytes, and where it has owners each has a share."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from services.sealing.remembered import OVERHEAD_BYTES, FairlyRemembered, Remembered


def test_what_was_asked_for_longest_ago_goes_first() -> None:
    kept: Remembered[str, str] = Remembered(3 * (100 + OVERHEAD_BYTES))
    for key in "abc":
        kept.put(key, key.upper(), 100)
    assert kept.get("a") == "A"
    kept.put("d", "D", 100)
    assert [kept.get(key) for key in "abcd"] == ["A", None, "C", "D"]
    assert kept.size_bytes == 3 * (100 + OVERHEAD_BYTES)


def test_the_bound_is_of_bytes_whatever_their_number() -> None:
    kept: Remembered[int, bytes] = Remembered(1_000_000)
    for key in range(10_000):
        kept.put(key, b"", key)
        assert kept.size_bytes <= 1_000_000
    assert 0 < len(kept) < 1_000_000 / (9_000 + OVERHEAD_BYTES)
    kept.put(0, b"", 2_000_000)
    assert (len(kept), kept.size_bytes) == (0, 0), "what alone is over the bound is not kept"


def test_the_same_key_again_takes_the_place_of_what_was_there() -> None:
    kept: Remembered[str, int] = Remembered(10_000)
    for size_bytes in (100, 5_000, 10):
        kept.put("a", size_bytes, size_bytes)
    assert (kept.get("a"), len(kept), kept.size_bytes) == (10, 1, 10 + OVERHEAD_BYTES)


def test_what_is_dropped_is_held_no_longer_and_counts_no_more() -> None:
    kept: Remembered[str, str] = Remembered(10_000)
    for key in "ab":
        kept.put(key, key.upper(), 100)
    kept.drop("a")
    kept.drop("nothing of that name")
    assert kept.items() == [("b", "B")]
    assert kept.size_bytes == 100 + OVERHEAD_BYTES


ROOM = 10_000
puts = st.lists(
    st.tuples(st.sampled_from("abcd"), st.integers(0, 5), st.integers(0, 6_000), st.booleans()), max_size=60
)


@given(puts)
def test_of_n_owners_nobody_who_holds_at_most_the_nth_part_loses_anything_to_others(
    steps: list[tuple[str, int, int, bool]],
) -> None:
    kept: FairlyRemembered[tuple[str, int], int] = FairlyRemembered(ROOM, lambda key: key[0])

    def held() -> Counter[str]:
        return Counter(
            {
                owner: sum(size + OVERHEAD_BYTES for (of, _), size in kept.items() if of == owner)
                for owner in "abcd"
            }
        )

    for owner, number, size, is_dropped in steps:
        before = held()
        if is_dropped:
            kept.drop((owner, number))
            assert kept.get((owner, number)) is None
        else:
            kept.put((owner, number), size, size)
        after = held()
        assert kept.size_bytes == after.total() <= ROOM
        assert len(kept) == len(kept.items())
        n = len({each for each in "abcd" if before[each]} | {owner})
        for other in set("abcd") - {owner}:
            assert after[other] == before[other] or before[other] > ROOM / n
        assert set(kept._of) == {each for each in "abcd" if after[each]}


def test_one_who_is_alone_has_all_of_it_until_others_come() -> None:
    kept: FairlyRemembered[tuple[str, int], None] = FairlyRemembered(
        8 * (100 + OVERHEAD_BYTES), lambda key: key[0]
    )
    for number in range(100):
        kept.put(("much", number), None, 100)
    assert [key for key, _ in kept.items()] == [("much", number) for number in range(92, 100)]
    assert kept.get(("much", 92)) is None
    kept.put(("few", 0), None, 100)
    for number in range(100, 200):
        kept.put(("much", number), None, 100)
    assert ("few", 0) in dict(kept.items())
    for number in range(100):
        kept.put(("more", number), None, 100)
    assert Counter(owner for (owner, _), _ in kept.items()) == {"few": 1, "much": 3, "more": 4}
