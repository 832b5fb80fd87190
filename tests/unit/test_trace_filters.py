"""Filters: which events of a trace are shown; what is walked stays."""

import click
import msgspec
import pytest
from click.testing import CliRunner

from goodstrace.cli.moments import moment_us
from goodstrace.cli.trace import trace as command
from goodstrace.facts import Facts
from goodstrace.query.v1 import trace_pb2
from goodstrace.tracing import EventFilter
from services.query import requests
from services.runtime.call_errors import InvalidRequestError
from tests.unit.tracing_builders import Chain, ids


def at(time_us: int, step: str = "sale") -> Facts:
    return Facts("e", "h", "ObjectEvent", time_us, "+00:00", "3", step=step)


def test_from_a_time_on_before_another_and_by_step() -> None:
    only = EventFilter(from_us=10, until_us=20, steps=frozenset({"sale"}))
    assert [only.shows(at(time)) for time in (9, 10, 19, 20)] == [False, True, True, False]
    assert not only.shows(at(15, "logistics"))
    assert EventFilter().is_open
    assert not only.is_open
    assert EventFilter().shows(at(-5))


def test_what_is_shown_keeps_its_place_and_its_mentions() -> None:
    chain = Chain()
    chain.make(1, ["flour"], ["bread"])
    chain.see(2, "bread", step="sale")
    answer = chain.trace("bread")
    shown = EventFilter(steps=frozenset({"sale"})).shown(answer.events)
    assert shown == answer.events[1:]
    assert ids(answer) == ["e0", "e1"]


@pytest.mark.parametrize(
    "changes",
    [{"from_us": 1}, {"until_us": 9}, {"steps": ["sale"]}, {"steps": ["sale", "logistics"]}],
    ids=str,
)
def test_page_tokens_are_bound_to_them(changes: dict[str, object]) -> None:
    plain = requests.trace_query(trace_pb2.TraceRequest(key="urn:x:1"))
    other = requests.trace_query(trace_pb2.TraceRequest(key="urn:x:1", **changes))  # type: ignore[arg-type]
    assert plain.encode() != other.encode()
    assert msgspec.json.decode(other.encode())[-1] != msgspec.json.decode(plain.encode())[-1]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"from_us": 5, "until_us": 5}, "until_us"),
        ({"steps": ["a", "a"]}, "steps"),
        ({"steps": [""]}, "steps"),
        ({"steps": ["x" * 65]}, "steps"),
        ({"steps": [str(number) for number in range(33)]}, "steps"),
    ],
    ids=str,
)
def test_filters_have_limits(changes: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidRequestError) as raised:
        requests.trace_query(trace_pb2.TraceRequest(key="urn:x:1", **changes))  # type: ignore[arg-type]
    assert raised.value.field == field


def test_times_on_the_command_line() -> None:
    assert moment_us("1970-01-02") == 86_400_000_000
    assert moment_us("1970-01-01T02:00:00.5+02:00") == 500_000
    assert moment_us("1969-12-31T23:59:59") == -1_000_000
    with pytest.raises(click.BadParameter, match="ISO 8601"):
        moment_us("yesterday")


def test_the_command_refuses_what_is_no_time() -> None:
    result = CliRunner().invoke(command, ["urn:x:1", "--from", "soon"])
    assert result.exit_code == 2
    assert "no ISO 8601" in result.output
