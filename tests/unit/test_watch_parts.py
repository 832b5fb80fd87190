"""The watch's parts: windows, sketches, rules, observations, blocks remembered."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from goodstrace.audit.v1 import watch_pb2
from services.audit import watch_requests as requests
from services.audit.watch import rules
from services.audit.watch.command import watch
from services.audit.watch.daily import distinct_users, is_pseudonym
from services.audit.watch.judging import windows_of
from services.audit.watch.observing import MAX_KEYS, observations, read, serial
from services.audit.watch.rules import Rule
from services.audit.watch.sketches import DISTINCT_KEPT, distinct, hashed, keep, longest_run, union
from services.audit.watch.state import Pane, State, count, decode, encode, forget
from services.audit.watch.values import Batch, Kind, Measure, decode_batch, encode_batch
from services.audit.watch.windows import pane_of, pane_size, starts_with, whole
from services.audit.watch_reader import summed
from services.query.accounts.metrics import Outcome
from services.runtime import topics
from services.runtime.access.naming import NOBODIES
from services.runtime.access.networks import named_network, network_of
from services.runtime.blocking import BLOCKS, Block, BlockedError, Blocks, RememberedBlocks, blocked_subject
from services.runtime.call_errors import InvalidRequestError
from services.runtime.errors import EnvelopeError, SettingsError, UnavailableError
from services.sealing.browse import BrowseKind
from services.sealing.indexes import indexes as log_indexes
from tests.watch_scenarios import BEGIN_MS, DAY_MS, MINUTE_MS, look, lot, marks, pseudonym, record, sign_in
from tests.watch_scenarios import serial as item

hops = st.integers(1, 500)
times = st.integers(0, 2**45)


@given(times, hops, st.integers(1, 12), st.integers(1, 6))
def test_a_pane_is_in_exactly_the_windows_that_hold_its_times(
    time_ms: int, pane_ms: int, panes_a_hop: int, hops_a_window: int
) -> None:
    hop_ms = pane_ms * panes_a_hop
    size_ms = hop_ms * hops_a_window
    pane = pane_of(time_ms, pane_ms)
    assert pane <= time_ms < pane + pane_ms
    starts = list(starts_with(pane, size_ms, hop_ms))
    assert len(starts) == hops_a_window
    for start in starts:
        assert start % hop_ms == 0
        assert start <= pane
        assert pane + pane_ms <= start + size_ms
        assert whole(start, size_ms, [pane, start - pane_ms, start + size_ms]) == [pane]
    assert starts[0] - hop_ms + size_ms <= pane
    assert starts[-1] + hop_ms > pane


@given(st.lists(st.integers(1, 10_000), min_size=1))
def test_panes_divide_all_sizes_and_hops(lengths: list[int]) -> None:
    assert all(length % pane_size(lengths) == 0 for length in lengths)


@given(st.lists(st.integers(0, 1000)), st.lists(st.integers(0, 1000)), st.integers(1, 50))
def test_the_smallest_members_are_kept_in_any_order_and_merge(
    first: list[int], second: list[int], most: int
) -> None:
    kept: list[list[int]] = [[], [], []]
    for members, into in ((first, kept[0]), (second, kept[1]), ([*second, *first, *second], kept[2])):
        for member in members:
            keep(into, member, most)
    assert kept[2] == sorted({*first, *second})[:most] == union(kept[:2], most)


def test_distinct_texts_are_counted_exactly_and_then_estimated() -> None:
    hashes: list[int] = []
    before = 0
    for number in range(20_000):
        keep(hashes, hashed(f"key {number}"), DISTINCT_KEPT)
        found = distinct(hashes)
        assert found >= before
        if number + 1 < DISTINCT_KEPT:
            assert found == number + 1
        before = found
    assert abs(before - 20_000) < 20_000 * 0.2


@given(st.sets(st.integers(0, 200)), st.integers(1, 4))
def test_the_longest_run_is_that_of_counting_by_hand(numbers: set[int], step: int) -> None:
    ordered = sorted(numbers)
    longest = 0
    for start in range(len(ordered)):
        end = start
        while end + 1 < len(ordered) and ordered[end + 1] - ordered[end] <= step:
            end += 1
        longest = max(longest, end - start + 1)
    assert longest_run(ordered, step) == longest


@pytest.mark.parametrize(
    ("key", "taken"),
    [
        (item(4711), ("https://id.gs1.org/01/09521234543213/21/", 4711)),
        (
            "https://id.gs1.org/01/09521234543213/21/AB0042",
            ("https://id.gs1.org/01/09521234543213/21/AB", 42),
        ),
        ("https://id.gs1.org/01/09521234543213/21/42X", None),
        (lot("12"), None),
        ("https://id.gs1.org/01/09521234543213", None),
        ("https://id.gs1.org/00/395212340000000011", ("https://id.gs1.org/00/", 39521234000000001)),
        ("urn:example:1", None),
    ],
)
def test_serials_are_taken_apart(key: str, taken: tuple[str, int] | None) -> None:
    assert serial(key) == taken


def test_a_look_is_observed_by_everybody_whom_it_concerns() -> None:
    made = record(
        look(0, "ann", item(1), item(2), lot("A"), item(1), network="192.0.2.0", merchant=7), bytes(16)
    )
    seen = observations(made, 5)
    assert [each.kind for each in seen] == [
        Kind.USER,
        Kind.NETWORK,
        Kind.MERCHANT,
        Kind.KEY,
        Kind.KEY,
        Kind.KEY,
        Kind.LOT,
        Kind.SERIES,
    ]
    assert {each.offset for each in seen} == {5}
    assert len(seen[0].keys) == 3
    assert seen[-1].numbers == (1, 2)
    assert decode_batch(encode_batch(Batch(1, 9, tuple(seen)))).seen == tuple(seen)
    many = observations(record(look(0, "ann", *map(item, range(1000))), bytes(16)), 0)
    assert len(many[0].keys) == 1000
    assert sum(each.kind is Kind.KEY for each in many) == MAX_KEYS


def test_refusals_sign_ins_and_changes_of_accounts_are_no_looks() -> None:
    refused = observations(
        record(look(0, "ann", item(1), refused="no", kind=BrowseKind.REFUSAL, times=9), bytes(16)), 0
    )
    assert [(each.kind, each.looks, each.refused) for each in refused] == [
        (Kind.USER, 0, 9),
        (Kind.NETWORK, 0, 9),
    ]
    changed = observations(
        record(look(0, "ann", "urn:goodstrace:accounts", kind=BrowseKind.ACCOUNT_CHANGE), bytes(16)), 0
    )
    assert [(each.kind, each.looks, each.refused, each.sign_ins) for each in changed] == [
        (Kind.USER, 0, 0, 0),
        (Kind.NETWORK, 0, 0, 0),
    ]
    tried = observations(record(sign_in(0, "ann", "192.0.2.0"), bytes(16)), 0)
    assert [(each.sign_ins, each.sign_ins_refused, each.looks, each.refused) for each in tried] == [
        (1, 1, 0, 0)
    ] * 2


def test_a_sign_in_that_is_to_work_for_its_networks_block_is_no_failure() -> None:
    """Else honest neighbours of who guessed would make the block last, by which they may not look either."""
    told = observations(
        record(sign_in(0, "unknown", "192.0.2.0", refused=Outcome.BLOCKED_NETWORK), bytes(16)), 0
    )
    assert {(each.sign_ins, each.sign_ins_refused) for each in told} == {(1, 0)}
    asked = observations(record(sign_in(0, "unknown", "192.0.2.0", refused=Outcome.CHALLENGED), bytes(16)), 0)
    assert {(each.sign_ins, each.sign_ins_refused) for each in asked} == {(1, 1)}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"kind": "glance"}, "no kind"),
        ({"kind": ""}, "no kind"),
        ({"record_id": b"short"}, "no record"),
        ({"pseudonym": ""}, "nobody"),
    ],
)
def test_a_record_that_cannot_be_read_is_told_of(change: dict[str, Any], problem: str) -> None:
    made = record(look(0, "ann", item(1)), bytes(16))
    assert read(made.SerializeToString()) == made
    for name, value in change.items():
        setattr(made, name, value)
    with pytest.raises(EnvelopeError, match=problem):
        read(made.SerializeToString())


@given(st.binary(max_size=200))
def test_bytes_are_a_record_or_an_error_and_nothing_else(value: bytes) -> None:
    try:
        told = read(value)
    except EnvelopeError:
        return
    observations(told, 0)


def test_how_answers_ended_is_no_look_and_names_nobody() -> None:
    made = record(marks(5, 3, failed=2, withheld=1), bytes(16))
    [seen] = observations(read(made.SerializeToString()), 7)
    assert (seen.kind, seen.subject, seen.offset, seen.looks) == (Kind.ANSWERS, "all", 7, 0)
    assert (seen.answered, seen.failed, seen.withheld) == (3, 2, 1)
    assert seen.id == min(*made.failed, *made.withheld)
    [well] = observations(record(marks(5, 3), bytes(16)), 8)
    assert (well.id, well.answered) == (b"", 3)
    state = State()
    count(state, 0, seen, BEGIN_MS)
    count(state, 0, well, BEGIN_MS)
    pane = state.panes[BEGIN_MS]
    assert (pane.answered, pane.failed, pane.withheld) == (6, 2, 1)
    assert (pane.evidence, pane.evidence_refused) == ([], [seen.id])


@given(st.dictionaries(st.integers(0, 40), st.sets(st.integers(0, 30))))
def test_users_of_two_days_are_never_added_up(sets: dict[int, set[int]]) -> None:
    quarters = {start * DAY_MS // 4: sorted(members) for start, members in sets.items()}
    by_day: dict[int, set[int]] = {}
    for start, members in sets.items():
        by_day.setdefault(start // 4, set()).update(members)
    assert distinct_users(quarters) == max(map(len, by_day.values()), default=0)


def test_a_pseudonym_is_told_from_the_words_for_nobody() -> None:
    assert is_pseudonym(pseudonym("ann", BEGIN_MS))
    assert not any(map(is_pseudonym, (*NOBODIES, "", "a" * 23, "A" * 24)))


def test_a_state_comes_back_as_it_was_and_forgets() -> None:
    state = State()
    for nth, seen in enumerate(
        observations(record(look(nth * 300_000, "ann", item(nth)), bytes([nth] * 16)), nth)[0]
        for nth in range(5)
    ):
        count(state, 0, seen, BEGIN_MS + nth * 300_000)
    state.told = [("scraping", BEGIN_MS), ("scraping", BEGIN_MS + 1_200_000)]
    assert encode(decode(encode(state))) == encode(state)
    forget(state, BEGIN_MS + 900_000, 600_000)
    assert sorted(state.panes) == [BEGIN_MS + 900_000, BEGIN_MS + 1_200_000]
    assert state.told == [("scraping", BEGIN_MS + 1_200_000)]
    assert isinstance(state.panes[BEGIN_MS + 900_000], Pane)


def test_windows_of_a_rule_are_listed_once() -> None:
    rule = Rule("r", Kind.USER, Measure.LOOKS, 600, 300, 1, "x")
    assert windows_of(rule, [600_000, 900_000]) == [300_000, 600_000, 900_000]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"about": "lot", "measure": "networks"}, "networks cannot be counted by lot"),
        ({"hop_s": 400}, "no multiple of its hop"),
        ({"times": 3}, "go together"),
        ({"times": 3, "before": 2}, "must tumble"),
        ({"grade": "item"}, "only keys have a grade"),
        ({"about": "key", "measure": "looks", "block_s": 60}, "can be blocked"),
        ({"about": "series", "measure": "run", "at_least": 600}, "512 at the most"),
        ({"size_s": 6000, "hop_s": 1}, "over 200 panes"),
        ({"size_s": 0}, "Expected `int` >= 1"),
        ({"share": 50}, "keys has no share of anything"),
        ({"measure": "failed"}, "failed cannot be counted by user"),
        ({"about": "answers", "measure": "failed", "block_s": 60}, "can be blocked"),
        ({"block_s": 86_400 - 599}, "a day together"),
        ({"severity": "dire"}, "Invalid enum value"),
        ({"more": 1}, "unknown field"),
    ],
)
def test_a_file_of_rules_that_is_not_sound_is_refused(
    tmp_path: Path, change: dict[str, object], problem: str
) -> None:
    rule = {
        "id": "own",
        "about": "user",
        "measure": "keys",
        "size_s": 600,
        "hop_s": 300,
        "at_least": 9,
        "says": "x",
    }
    lines = [f"{name} = {msgspec.json.encode(value).decode()}" for name, value in {**rule, **change}.items()]
    file = tmp_path / "rules.toml"
    file.write_text("\n".join(['version = "own-1"', "[[rules]]", *lines]))
    with pytest.raises(SettingsError, match=problem):
        rules.load(file)


def test_a_sound_file_of_rules_is_read_and_two_of_one_name_are_not(tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    rule = '[[rules]]\nid = "own"\nabout = "user"\nmeasure = "keys"\nsize_s = 60\nhop_s = 60\nat_least = 9\nsays = "x"\n'
    file.write_text('version = "own-1"\n' + rule)
    assert rules.load(file).rules[0].size_ms == 60_000
    file.write_text('version = "own-1"\n' + rule + rule)
    with pytest.raises(SettingsError, match="two rules have one id"):
        rules.load(file)
    file.write_text('version = "own-1"\nexempt = ["user:warehouse"]\n' + rule)
    with pytest.raises(SettingsError, match="another name each day"):
        rules.load(file)
    for network, is_one in (
        ("10.0.0.0/24", True),
        ("2001:db8::/48", True),
        ("10.0.0", False),
        ("10.0.0.0/8", False),
    ):
        file.write_text(f'version = "own-1"\nexempt = ["network:{network}"]\n' + rule)
        if is_one:
            assert rules.load(file).exempt == (f"network:{network}",)
        else:
            with pytest.raises(SettingsError, match="as alerts name them"):
                rules.load(file)
    with pytest.raises(SettingsError):
        rules.load(tmp_path / "none.toml")


@given(st.ip_addresses())
def test_a_network_is_named_by_an_address_or_as_records_do_and_by_nothing_else(address: Any) -> None:
    known = network_of(str(address))
    assert named_network(str(address)) == named_network(known) == known
    assert not named_network(f"{address}/16")
    assert not named_network(str(address)[:-1] + ".")


def test_a_block_of_what_is_no_network_is_refused_and_not_put_in_vain() -> None:
    for name in ("203.0.113", "203.0.0.0/16", "office"):
        refused = CliRunner().invoke(watch, ["blocks", "add", f"network:{name}"])
        assert refused.exit_code == 1
        assert "a network as alerts name it" in refused.output


class _Listed(Blocks):
    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.asked = 0
        self.is_away = False

    async def in_force(self) -> list[Block]:
        self.asked += 1
        if self.is_away:
            raise UnavailableError("away")
        return self.blocks


async def _nobody(name: str) -> list[str]:
    raise AssertionError(f"{name}: nobody was blocked by a pseudonym")


async def test_a_block_by_a_pseudonym_holds_over_midnight_and_ends() -> None:
    now_ms = BEGIN_MS + DAY_MS - 5 * MINUTE_MS

    async def lately(name: str) -> list[str]:
        return [pseudonym(name, now_ms), pseudonym(name, now_ms - DAY_MS)]

    listed = _Listed()
    until_ms = BEGIN_MS + 2 * DAY_MS - MINUTE_MS
    listed.blocks = [Block(f"pseudonym:{pseudonym('ann', now_ms)}", until_ms)]
    remembered = RememberedBlocks(listed, pseudonyms=lately, now_ms=lambda: now_ms)
    for moment in (now_ms, BEGIN_MS + DAY_MS + MINUTE_MS, until_ms - 1):
        now_ms = moment
        with pytest.raises(BlockedError, match=r"this user is blocked until 2026-01-02T23:59:00Z"):
            await remembered.check(user="ann", network="192.0.2.0")
        await remembered.check(user="bob", network="192.0.2.0")
    now_ms = until_ms
    await remembered.check(user="ann", network="192.0.2.0")


async def test_blocks_are_asked_for_every_two_seconds_and_outlast_an_outage() -> None:
    listed, now_s = _Listed(), 100.0
    remembered = RememberedBlocks(
        listed, pseudonyms=_nobody, clock_s=lambda: now_s, now_ms=lambda: int(now_s * 1000)
    )
    listed.is_away = True
    with pytest.raises(UnavailableError):
        await remembered.check(user="ann", network="")
    listed.is_away = False
    await remembered.check(user="ann", network="192.0.2.0")
    listed.blocks = [Block("user:ann", 110_000), Block("network:192.0.2.0", 200_000)]
    await remembered.check(user="ann", network="192.0.2.0")
    assert listed.asked == 2
    now_s += 2.1
    for user, network in (("ann", ""), ("bob", "192.0.2.0")):
        with pytest.raises(BlockedError, match="blocked until 1970-01-01T00:0"):
            await remembered.check(user=user, network=network)
    assert await remembered.is_network_blocked("192.0.2.0")
    assert not await remembered.is_network_blocked("198.51.100.0")
    await remembered.check(user="bob", network="")
    assert listed.asked == 3
    listed.is_away, now_s = True, 107.0
    with pytest.raises(BlockedError):
        await remembered.check(user="ann", network="")
    now_s = 111.0
    await remembered.check(user="ann", network="")  # it has ended by itself


def test_an_alert_blocks_a_network_or_else_its_user_by_the_pseudonym() -> None:
    assert blocked_subject("network", "192.0.2.0") == "network:192.0.2.0"
    assert blocked_subject("series", "ab12") == blocked_subject("user", "ab12") == "pseudonym:ab12"


def test_topics_that_have_pseudonyms_forget_in_time() -> None:
    """Kafka forgets whole segments only, and never the one it writes to: without a limit that lasts for a week more."""
    for topic in topics.declared("t.", 4, 2, 1):
        told = topic.config()
        if topic.compacted:
            assert int(told["max.compaction.lag.ms"]) + int(told["delete.retention.ms"]) <= DAY_MS
            assert int(told["segment.ms"]) <= DAY_MS
        elif topic.name.startswith("t.browse."):
            assert int(told["retention.ms"]) + int(told["segment.ms"]) <= 2.25 * DAY_MS
        else:
            assert told["retention.ms"] == "-1"
            assert "segment.ms" not in told


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (watch_pb2.GetActivityRequest(about="user", start_ms=1, end_ms=2), "subject"),
        (watch_pb2.GetActivityRequest(about="all", subject="x", end_ms=2), "subject"),
        (watch_pb2.GetActivityRequest(about="lot", subject="x", end_ms=2), "about"),
        (watch_pb2.GetActivityRequest(about="all", start_ms=5, end_ms=2), "end_ms"),
        (watch_pb2.GetActivityRequest(about="all", end_ms=8 * 86_400_000), "end_ms"),
        (watch_pb2.GetActivityRequest(about="all", start_ms=-1), "start_ms"),
        (watch_pb2.GetActivityRequest(about="all", end_ms=2, purpose="p" * 257), "purpose"),
    ],
)
def test_a_wrong_request_names_its_field(request_: watch_pb2.GetActivityRequest, field: str) -> None:
    with pytest.raises(InvalidRequestError) as raised:
        requests.window_of(request_, now_ms=1)
    assert raised.value.field == field


def test_what_partitions_counted_is_summed_by_window() -> None:
    row = {
        "start_ms": 0,
        "end_ms": 300,
        "looks": 2,
        "refused": 1,
        "sign_ins": 0,
        "sign_ins_refused": 0,
        "shown": 5,
        "first_seen": 1,
        "answered": 1,
        "failed": 1,
        "withheld": 0,
    }
    found = summed([row, {**row, "start_ms": 300, "end_ms": 600}, row])
    assert [(each.start_ms, each.looks, each.first_seen) for each in found] == [(0, 4, 2), (300, 2, 1)]


def test_blocks_of_users_are_not_kept_among_those_of_the_logs() -> None:
    """Whose collection has an index by which a second one could not be put, and is checked by fsck."""
    assert BLOCKS not in log_indexes()
