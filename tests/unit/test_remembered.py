"""What readers remember is bounded by bytes."""

from services.sealing.remembered import OVERHEAD_BYTES, Remembered


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
