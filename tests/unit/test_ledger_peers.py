"""The side-by-side bench's arithmetic; the peers themselves are not built by the tests."""

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.ledger_peers import OURS, Figures, Load, medians, positive, ratios, run

LOAD = Load(entries=100, entry_bytes=500, reads=10)


def test_medians_and_ratios() -> None:
    runs = {
        OURS: [{"append_per_s": 30.0, "verified_reads_per_s": 5.0, "load_before": 1.0}] * 3,
        "tessera": [{"append_per_s": each, "verified_reads_per_s": 10.0} for each in (10.0, 90.0, 60.0)],
        "immudb": [
            {"append_per_s": 40.0, "append_one_at_a_time_per_s": 7.0, "verified_reads_by_key_per_s": 9.0}
        ],
    }
    figures = medians(runs)
    assert figures["tessera"] == {"append_per_s": 60.0, "verified_reads_per_s": 10.0}
    assert ratios(figures) == {
        "tessera": {"append_per_s": 0.5, "verified_reads_per_s": 0.5},
        "immudb": {"append_per_s": 0.75},
    }
    assert ratios({"tessera": figures["tessera"]}) == {}


def test_they_take_turns() -> None:
    order: list[str] = []

    def subject(name: str) -> Callable[[Load, Path], Figures]:
        def measured(load: Load, folder: Path) -> Figures:
            assert load is LOAD
            assert list(folder.iterdir()) == []
            order.append(name)
            return {"append_per_s": 1.0}

        return measured

    runs = run(LOAD, {name: subject(name) for name in "abc"}, repeats=2)
    assert order == ["a", "b", "c", "c", "b", "a"]
    assert {name: len(done) for name, done in runs.items()} == {"a": 2, "b": 2, "c": 2}


@pytest.mark.parametrize("text", ["0", "-1", "", "x", "1.5"])
def test_a_count_is_at_least_one(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        positive(text)
