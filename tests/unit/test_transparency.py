"""Transparency reports: whoever has the logs' keys derives the public figures again, and finds whatever was changed in a report or its logs."""

import datetime as dt
import os
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodstrace import entry as entries
from goodstrace.bundles import encode_bundle, parse_bundle_path
from goodstrace.checkpoint import Checkpoint, sign_checkpoint
from goodstrace.cosignature import Cosigner
from goodstrace.entry import Entry, Kind, PartCommitment, TagsCommitment
from goodstrace.errors import AnswerError, QuorumError, VerificationError
from goodstrace.log_keys import LogKeys
from goodstrace.merkle import Frontier, leaf_hashes
from goodstrace.note import Signer
from goodstrace.policy import Policy
from goodstrace.transparency import values
from goodstrace.transparency.counting import Counting
from goodstrace.transparency.markdown import markdown
from goodstrace.transparency.public_log import PublicLog
from goodstrace.transparency.values import Month, PublicFigures, Report, Shown, Span
from goodstrace.transparency.verifying import AROUND, verify

MONTH = Month.parse("2026-11")
BEFORE_MS, AFTER_MS = MONTH.start_ms - 1, MONTH.end_ms
LOOK = ("who", "what", "purpose", "outcome")


def _entry(number: int, time_ms: int, kind: Kind = Kind.BROWSE, parts: Sequence[str] = LOOK) -> bytes:
    made = Entry(
        id=f"{number:032x}",
        kind=kind,
        merchant=0,
        parts=tuple(PartCommitment("0" * 64, name, 9) for name in parts),
        tags=TagsCommitment(0, "0" * 64),
        time=time_ms,
    )
    return entries.encode(made)


class World:
    """Two logs with 300 entries before November, 700 in it and 300 after."""

    def __init__(self) -> None:
        self.logs: dict[str, list[bytes]] = {}
        self.signers: dict[str, Signer] = {}
        for log in ("browse/0", "browse/1"):
            self.signers[log] = Signer(f"test/instance/{log}", os.urandom(32))
            times = [*(BEFORE_MS for _ in range(300)), *self._november(), *(AFTER_MS for _ in range(300))]
            self.logs[log] = [
                _entry(place, time) for place, time in enumerate(times, len(self.logs) * 10_000)
            ]
            self.logs[log][400] = _entry(400, MONTH.start_ms + 5, parts=("outcomes",))
            self.logs[log][500] = _entry(500, MONTH.end_ms - 1, Kind.ERASURE, ("erasure",))
        self.report = self.made()

    @staticmethod
    def _november() -> Iterable[int]:
        return (MONTH.start_ms + place * 3_600_000 for place in range(700))

    @property
    def keys(self) -> LogKeys:
        return LogKeys.parse(each.verifier.vkey() for each in self.signers.values())

    def checkpoint(self, log: str, size: int) -> str:
        root = self.frontier(log, size).root()
        return sign_checkpoint(Checkpoint(self.signers[log].name, size, root), self.signers[log])

    def frontier(self, log: str, size: int) -> Frontier:
        return Frontier().append(leaf_hashes(self.logs[log][:size]))

    def made(self, first: int = 290, end: int = 1010) -> Report:
        counting = Counting(MONTH)
        spans = []
        for log, held in self.logs.items():
            counting.begin(log)
            for each in held[first:end]:
                counting.add(log, entries.decode(each))
            spans.append(
                Span(
                    log=log,
                    first=first,
                    end=end,
                    first_checkpoint=self.checkpoint(log, first) if first else "",
                    last_checkpoint=self.checkpoint(log, end),
                    frontier=tuple(each.hex() for each in self.frontier(log, first).encode()),
                )
            )
        return Report(
            version=1,
            month=MONTH.name,
            made_ms=AFTER_MS + 86_400_000,
            complete=True,
            spans=tuple(spans),
            public=counting.figures(),
            operator={
                "by_role": {"shopper": {"looks": 5}},
                "notes": ["a | note"],
                "alerts": {"scraping": 2},
                "blocks": {},
            },
        )

    def entries(self, log: str, first: int, end: int) -> Sequence[bytes]:
        return self.logs[log][first:end]

    def size(self, log: str) -> int:
        return len(self.logs[log])


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def test_the_figures_are_derived_again(world: World) -> None:
    derived = verify(values.decode(values.encode(world.report)), world.keys, world)
    assert derived.total == Shown(looks=2 * 698, outcomes=2, erasures=2)
    assert derived.by_log["browse/1"] == Shown(looks=698, outcomes=1, erasures=1)
    assert sum(each.looks for each in derived.by_day.values()) == 2 * 698
    assert verify(world.made(0, 1300), world.keys, world) == derived


def test_a_month_that_is_not_over_goes_on_behind_its_report(world: World) -> None:
    made = msgspec.structs.replace(world.made(290, 700), complete=False)
    assert verify(made, world.keys, world).total.looks < 2 * 698


def _changed(report: Report, place: int, **fields: Any) -> Report:
    spans = list(report.spans)
    spans[place] = msgspec.structs.replace(spans[place], **fields)
    return msgspec.structs.replace(report, spans=tuple(spans))


FORGERIES: dict[str, Callable[[World], Report]] = {
    "one look less": lambda world: msgspec.structs.replace(
        world.report,
        public=PublicFigures(
            Shown(1395, 2, 2), dict(world.report.public.by_log), dict(world.report.public.by_day)
        ),
    ),
    "a day's figures moved": lambda world: msgspec.structs.replace(
        world.report,
        public=msgspec.structs.replace(
            world.report.public,
            by_day={
                {"2026-11-01": "2026-11-02", "2026-11-02": "2026-11-01"}.get(day, day): each
                for day, each in world.report.public.by_day.items()
                if day != "2026-11-03"
            },
        ),
    ),
    "a span that begins too late": lambda world: world.made(310, 1010),
    "a span that ends too early": lambda world: world.made(290, 990),
    "a log left out": lambda world: msgspec.structs.replace(world.report, spans=world.report.spans[:1]),
    "a log twice": lambda world: msgspec.structs.replace(
        world.report, spans=(world.report.spans[0], *world.report.spans)
    ),
    "another frontier": lambda world: _changed(world.report, 0, frontier=world.report.spans[1].frontier),
    "no frontier": lambda world: _changed(world.report, 0, frontier=()),
    "a frontier that is none": lambda world: _changed(world.report, 0, frontier=("x",)),
    "a checkpoint of another log": lambda world: _changed(
        world.report, 0, last_checkpoint=world.report.spans[1].last_checkpoint
    ),
    "a checkpoint of another size": lambda world: _changed(world.report, 0, end=1009),
    "a checkpoint of another key": lambda world: _changed(
        world.report, 0, last_checkpoint=World().report.spans[0].last_checkpoint
    ),
    "no first checkpoint": lambda world: _changed(world.report, 0, first_checkpoint=""),
    "an end before its beginning": lambda world: _changed(
        world.report, 0, end=1, last_checkpoint=world.checkpoint("browse/0", 1)
    ),
}


@pytest.mark.parametrize(
    ("first", "end", "where"),
    [(0, 30, "from the entry 30 on is of before"), (1280, 1300, "before the entry 1280")],
)
def test_a_span_far_from_the_month_is_refused(world: World, first: int, end: int, where: str) -> None:
    """Such a one states no look at all, and none of the month is within reach of it."""
    far = World()
    for log in far.logs:
        far.logs[log][300:1000] = [
            _entry(place, BEFORE_MS if first == 0 else AFTER_MS) for place in range(300, 1000)
        ]
        far.logs[log][650] = _entry(650, MONTH.start_ms)
    with pytest.raises(AnswerError, match=where):
        verify(far.made(first, end), far.keys, far)
    assert verify(far.made(250, 1010), far.keys, far).total.looks == 2


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_report_that_was_changed_is_refused(world: World, forgery: str) -> None:
    with pytest.raises(VerificationError):
        verify(FORGERIES[forgery](world), world.keys, world)


@pytest.mark.parametrize("index", [290, 299, 300, 400, 999, 1009])
@pytest.mark.parametrize("change", ["altered", "left out"])
def test_a_log_that_was_changed_is_found(world: World, index: int, change: str) -> None:
    held = dict(world.logs)
    other = _entry(7, MONTH.start_ms + 1) if change == "altered" else None
    held["browse/0"] = [
        *held["browse/0"][:index],
        *([other] if other else []),
        *held["browse/0"][index + 1 :],
    ]

    class Other:
        def entries(self, log: str, first: int, end: int) -> Sequence[bytes]:
            return held[log][first:end]

        def size(self, log: str) -> int:
            return len(held[log])

    with pytest.raises((AnswerError, VerificationError)):
        verify(world.report, world.keys, Other())


def test_a_quorum_of_witnesses_may_be_wanted(world: World) -> None:
    witness = Cosigner("witness.example", b"w" * 32)
    vkey = witness.verifier.vkey()
    with pytest.raises(QuorumError):
        verify(world.report, world.keys, world, Policy.parse(f"witness w {vkey}\nquorum w\n"))
    assert verify(world.report, world.keys, world, Policy.parse(f"witness w {vkey}\nquorum none\n"))


def test_an_export_that_is_older_than_the_report_is_said_to_be_that(world: World) -> None:
    class Older:
        def entries(self, log: str, first: int, end: int) -> Sequence[bytes]:
            return world.logs[log][first : min(end, 690)]

        def size(self, log: str) -> int:
            return min(690, len(world.logs[log]))

    with pytest.raises(
        AnswerError,
        match=r"browse/0: what is read ends at 690 entries, before the report's \d+: .*export again",
    ):
        verify(world.report, world.keys, Older())


def test_entries_are_read_from_bundles(world: World) -> None:
    def fetch(path: str) -> bytes | None:
        log, name = "/".join(path.split("/")[:2]), "/".join(path.split("/")[2:])
        if name == "checkpoint":
            return world.checkpoint(log, 1300).encode()
        n, width = parse_bundle_path(name)
        found = world.logs[log][n * 256 : n * 256 + width]
        return encode_bundle(found) if len(found) == width else None

    source = PublicLog(fetch)
    assert source.entries("browse/0", 250, 770) == world.logs["browse/0"][250:770]
    assert source.entries("browse/0", 1290, 1290 + AROUND) == world.logs["browse/0"][1290:]
    assert verify(world.report, world.keys, source)

    def nothing(_path: str) -> bytes | None:
        return None

    with pytest.raises(AnswerError):
        PublicLog(nothing).entries("browse/0", 0, 1)


@given(st.binary(max_size=200))
def test_a_file_that_is_no_report_is_refused(data: bytes) -> None:
    with pytest.raises(AnswerError):
        values.decode(data)


def test_a_report_of_another_version_is_refused(world: World) -> None:
    with pytest.raises(AnswerError):
        values.decode(values.encode(msgspec.structs.replace(world.report, version=2)))


@pytest.mark.parametrize("month", ["2026-13", "2026-1", "26-01", "2026-11-01", ""])
def test_what_is_no_month_is_refused(month: str) -> None:
    with pytest.raises(ValueError, match="is no month"):
        Month.parse(month)


def test_months_follow_one_another() -> None:
    months = [Month.parse(f"2027-{number:02}") for number in range(1, 13)]
    assert all(one.end_ms == other.start_ms for one, other in pairwise(months))
    assert months[11].end_ms == int(dt.datetime(2028, 1, 1, tzinfo=dt.UTC).timestamp()) * 1000


def test_people_read_which_figures_are_whose_word(world: World) -> None:
    text = markdown(world.report)
    assert "| browse/0 | 698 | 1 | 1 |" in text
    assert "| browse/1 | 290 | 1010 | none |" in text
    assert "the operator's word" in text
    assert text.index("anybody can derive again") < text.index("What only the operator sees")
    assert "| scraping | 2 |" in text
