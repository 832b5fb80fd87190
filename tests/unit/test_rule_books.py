"""An operator's own tables of steps and rules: what is a sound file, what is sealed of it, and that a replay goes by the same ones."""

import hashlib
import json
from pathlib import Path
from typing import Any

import cel
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from services.collector import steps
from services.collector.books import PROGRAMS, Books, read_books
from services.collector.errors import BookError
from services.collector.flow import StageName
from services.collector.rules import book
from services.collector.rules.command import rules
from services.collector.rules.expressions import Expression, NoAnswer
from services.collector.settings import CollectorSettings
from services.collector.stages import Span, SpanOutput, State
from services.collector.summarise import Window
from services.replay.through import Through
from services.runtime.errors import EnvelopeError
from services.sealing.core import Fetched
from tests.unit.collector_builders import (
    SECRET,
    WHOLE,
    collected,
    document,
    facts_of,
    items_of,
    object_event,
    wires,
)

TABLE = (
    b'{"version": "acme-1", "rules": [{"business_step": ["shipping"], "step": "sale"}], "otherwise": "other"}'
)
LATER_TABLE = TABLE.replace(b"acme-1", b"acme-2").replace(b"sale", b"storage")
OWN = b"""
version = "acme-1"
leave_out = ["quantity-negative"]

[[rules]]
id = "acme.too-warm"
severity = "warning"
about = "report"
says = "Too warm for a truck of ours."
when = { step = ["sale"], action = ["OBSERVE"] }
expr = "type == 'Temperature' && highest_celsius > 8.0"
detail = "{highest} {uom} at {read_point}"

[[rules]]
id = "acme.shock"
severity = "critical"
about = "event"
says = "The shock sensor has fired."
expr = "event['acme:shock'] > 2.5"
detail = "a shock"
"""
NAME = f"acme-1 sha256:{hashlib.sha256(OWN).hexdigest()}"


def books(*tables: bytes, own: tuple[bytes, ...] = ()) -> Books:
    return read_books([("t.json", each) for each in tables], [("r.toml", each) for each in own])


def captured(going_by: Books, event: dict[str, Any]) -> list[bytes]:
    return wires(collected(document(event), books=going_by))


def through(going_by: Books, values: list[bytes], span: Span = WHOLE) -> SpanOutput:
    return span.run(State(Window(10), SECRET, books=going_by), values)


def warm(**changes: Any) -> dict[str, Any]:
    report = {"type": "Temperature", "value": 9, "uom": "CEL"}
    return object_event(sensorElementList=[{"sensorReport": [report]}], **changes)


# ---- what is sealed, and replays


def test_an_operators_books_are_gone_by_and_named_with_their_digest() -> None:
    going_by = books(TABLE, own=(OWN,))
    output = through(going_by, captured(going_by, warm(**{"acme:shock": 3})))
    (item,) = items_of(output)
    facts = item.facts
    assert (facts.step, facts.step_table) == ("sale", f"acme-1 sha256:{hashlib.sha256(TABLE).hexdigest()}")
    assert facts.rule_sets == ("2", NAME)
    assert [(each.rule, each.at, each.detail) for each in facts.verdicts] == [
        ("acme.shock", "", "a shock"),
        ("acme.too-warm", "/sensorElementList/0/sensorReport/0", "9 CEL at https://id.gs1.org/414/0614141073467/254/1234"),
    ]  # fmt: skip
    assert output.verdicts == ["acme.shock", "acme.too-warm"]
    later = Span(StageName.STORE, StageName.STORE).run(
        State(Window(10), SECRET, books=going_by), output.passed[StageName.CLASSIFY]
    )
    assert later.verdicts == []  # they were counted where they were found


def test_rules_of_the_program_may_be_left_out() -> None:
    event = object_event(quantityList=[{"epcClass": "urn:a:b", "quantity": -1}])
    going_by = books(own=(OWN,))
    assert [each.facts.verdicts for each in items_of(through(going_by, captured(going_by, event)))] == [()]
    (verdict,) = facts_of(event).verdicts
    assert verdict.rule == "quantity-negative"


@pytest.mark.parametrize("topic", ["goods.collected", "goods.recorded"])
def test_a_replay_takes_the_books_of_then_whatever_those_of_today(topic: str) -> None:
    then = books(TABLE, own=(OWN,))
    values = captured(then, warm())
    made = through(then, values)
    before = values if topic == "goods.collected" else made.passed[StageName.RECORD]
    today = books(LATER_TABLE, TABLE, own=(OWN.replace(b"acme-1", b"acme-2"), OWN))
    (again,) = Through(topic, 10, SECRET, today)(0, [Fetched(7, before[0])])
    assert again.value == made.passed[StageName.STORE][0]


@pytest.mark.parametrize(("kept", "missing"), [((TABLE, ()), "rules"), ((None, (OWN,)), "steps")])
def test_a_book_that_is_missing_stops_the_stages(
    kept: tuple[bytes | None, tuple[bytes, ...]], missing: str
) -> None:
    then = books(TABLE, own=(OWN,))
    table, own = kept
    today = books(*([table] if table else []), own=own)
    with pytest.raises(EnvelopeError, match=f"{missing} 'acme-1 sha256:.*not at hand"):
        through(today, captured(then, warm()))


def test_stages_run_again_go_by_the_books_of_today_where_they_classify() -> None:
    then, today = books(TABLE), books(LATER_TABLE)
    values = captured(then, warm())
    state = State(Window(10), SECRET, rerun=True, books=today)
    (item,) = items_of(WHOLE.run(state, values))
    assert (item.facts.step, item.facts.step_table) == ("storage", today.step_table)
    classified = through(then, values).passed[StageName.CLASSIFY]
    (item,) = items_of(Span(StageName.STORE, StageName.STORE).run(state, classified))
    assert (item.facts.step, item.facts.step_table) == ("sale", then.step_table)


def test_a_rule_without_an_answer_gives_no_verdict_and_is_counted() -> None:
    going_by = books(own=(OWN,))
    output = through(going_by, captured(going_by, object_event(**{"acme:shock": "hard"})))
    assert output.unanswered == ["acme.shock"]
    assert items_of(output)[0].facts.verdicts == ()


def test_settings_name_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, content in (
        ("1.json", TABLE),
        ("2.json", LATER_TABLE),
        ("own.toml", OWN),
        ("bad.toml", b"version = 1"),
    ):
        (tmp_path / name).write_bytes(content)
    monkeypatch.setenv("GOODSTRACE_COLLECTOR_STEP_TABLES", f"{tmp_path}/2.json:{tmp_path}/1.json")
    monkeypatch.setenv("GOODSTRACE_COLLECTOR_RULES", f"{tmp_path}/own.toml")
    settings = CollectorSettings()
    assert settings.collecting().step_table.startswith("acme-2 sha256:")
    assert settings.collecting().rule_sets == (NAME,)
    assert settings.books.rule_ids > {"acme.shock", "expired"}
    for path, reason in (
        (f"{tmp_path}/bad.toml", "bad.toml: is no file of rules"),
        (f"{tmp_path}/none", "No such file"),
    ):
        monkeypatch.setenv("GOODSTRACE_COLLECTOR_RULES", path)
        with pytest.raises(BookError, match=reason):
            _ = CollectorSettings().books


# ---- files

SOUND = {
    "id": "acme.x",
    "severity": "info",
    "about": "report",
    "says": "x",
    "detail": "x",
    "expr": "value > 1.0",
}


def problems(**changes: Any) -> list[str]:
    rule = {**SOUND, **changes}
    lines = [f"{name} = {json.dumps(value)}" for name, value in rule.items() if not isinstance(value, dict)]
    lines += [
        f"{name} = {{ {', '.join(f'{key} = {json.dumps(each)}' for key, each in value.items())} }}"
        for name, value in rule.items()
        if isinstance(value, dict)
    ]
    return book.problems("\n".join(['version = "a"', "[[rules]]", *lines]).encode())


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"id": "too-warm"}, "an ID is a name of yours, a dot and the rule's"),
        ({"severity": "fatal"}, "Invalid enum value 'fatal'"),
        ({"about": "weather"}, "Invalid enum value 'weather'"),
        ({"expression": "true"}, "unknown field `expression`"),
        ({"expr": "value >"}, "expr: "),
        ({"expr": "vlaue > 1.0"}, "expr: there is no vlaue about a report; there is "),
        ({"expr": "value > '1'"}, "expr: No such overload"),
        ({"expr": "value + 1 > 2.0"}, "expr: Unsupported operation"),
        ({"expr": "value"}, "which is neither true nor false"),
        ({"expr": "quantity > 1.0"}, "there is no quantity about a report"),
        ({"expr": "timestamp('2026-01-01T00:00:00Z') > 1"}, "calls timestamp; an expression may call contains, "),
        ({"expr": "now() > 1"}, "calls now;"),
        ({"expr": "event.map(k, k)[0] == 'x'"}, "calls map;"),
        ({"expr": "event . exists (k, k == 'x')"}, "calls exists;"),
        ({"expr": "'''a''' == type"}, "triple-quoted"),
        ({"expr": "r'a' == type"}, "raw"),
        ({"expr": "true // always"}, "comments"),
        ({"expr": "true || " * 300 + "true"}, "is over 2000 characters"),
        ({"detail": "{nothing} is wrong"}, "detail: there is no nothing about a report"),
        ({"says": ""}, "says: must be 1 to 300 characters"),
        ({"when": {"type": ["Object"]}}, "when.type: 'Object' is none of ObjectEvent, "),
        ({"when": {"action": ["add"]}}, "when.action: 'add' is none of ADD, OBSERVE, DELETE"),
        ({"when": {"step": ["shipping"]}}, "Invalid enum value 'shipping'"),
        ({"when": {"shared": ["parents", "uncles"]}}, "when.shared: 'uncles' is none of parents, "),
        ({"when": {"shared": ["parents", "children"]}}, "when.shared: is for rules about an event"),
        ({"about": "event", "expr": "size(shared) > 1"}, "there is no shared about an event"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_rule_is_told(changes: dict[str, Any], problem: str) -> None:
    assert problem in " ".join(problems(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"expr": "uom == 'https://map(x)/ // \\\\'"},
        {"expr": "value > 1.0 && !(uom in ['CEL', \"KEL\"]) || -value < minValue - 2.0 * sDev"},
        {"about": "event", "when": {"shared": ["parents", "children"]}, "expr": "size(shared) > 1", "detail": "{shared}"},
        {"about": "event", "expr": "has(event.x) && int(event.x) == 3"},
        {"about": "date", "expr": "event_time >= end && written.matches('^20') && !meaning.startsWith('sell')"},
    ],
)  # fmt: skip
def test_sound_rules(changes: dict[str, Any]) -> None:
    assert problems(**changes) == []


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"\xff", "is no file of rules"),
        (b"rules = []", "missing required field `version`"),
        (b'version = "a b"\nrules = []', "its version must be"),
        (b'version = "a"\nrules = []\nleave_out = ["nothing"]', "there is no rule 'nothing' to leave out"),
        (b"#" * 300_000, "is over 262144 bytes"),
        (
            OWN + OWN.partition(b"[[rules]]")[1] + OWN.partition(b"[[rules]]")[2],
            "acme.too-warm: the ID is there twice",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_told(content: bytes, problem: str) -> None:
    assert problem in " ".join(book.problems(content))
    with pytest.raises(BookError):
        book.operators(content)


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", TABLE.replace(b"sale", b"theft"), TABLE.replace(b"step", b"stap"), TABLE.replace(b"acme-1", b"a b"), b" " * 300_000],
)  # fmt: skip
def test_what_is_no_table_of_steps_is_refused(content: bytes) -> None:
    with pytest.raises(BookError):
        steps.operators(content)


@given(st.one_of(st.text(), st.text("()[]{}!&|<>=+-*/%.,'\"?: abv10", max_size=40)))
def test_any_text_is_an_expression_or_refused(text: str) -> None:
    try:
        expression = Expression(text)
    except BookError:
        return
    assert isinstance(expression.holds(cel.Context({"a": 1.0, "b": {"v": [True]}})), bool | NoAnswer)


# ---- commands


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(rules, [str(each) for each in arguments])


def test_list_shows_what_comes_with_the_program() -> None:
    assert "A sensor report carries an alarm condition." in run("list").output
    listed = json.loads(run("list", "--json").output)
    assert {each["id"] for each in listed["rules"]} == {rule.id for rule in book.built_in("1").rules}


def test_check_tells_what_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_bytes(OWN)
    sound = run("check", file)
    assert (sound.exit_code, sound.output) == (0, f"{file}: 2 rules, sealed as {NAME}\n")
    file.write_bytes(OWN.replace(b"highest_celsius", b"highest"[::-1]))
    bad = run("check", file, "--json")
    assert bad.exit_code == 1
    assert "there is no tsehgih about a report" in json.loads(bad.output)["problems"][0]


def test_test_shows_which_rules_hold_for_which_events(tmp_path: Path) -> None:
    file, events = tmp_path / "own.toml", tmp_path / "events.jsonld"
    file.write_bytes(OWN.replace(b'"sale"', b'"logistics"'))
    events.write_bytes(
        document(
            warm(), object_event(**{"acme:shock": 3}), warm(**{"acme:shock": "x"}), object_event(action="X")
        )
    )
    told = run("test", file, events)
    assert told.exit_code == 1  # one rule had no answer, one event is none
    lines = told.output.splitlines()
    assert f"{events}[0] logistics urn:uuid:11111111-2222-4333-8444-555555555555" in lines
    assert any("warning: acme.too-warm: 9 CEL at" in line for line in lines)
    assert "  critical: acme.shock: a shock" in lines
    assert any(line.startswith("  no answer: acme.shock: ") for line in lines)
    assert any(line.startswith("  refused: /epcisBody/eventList/3/action: ") for line in lines)
    found = json.loads(run("test", file, events, "--json", "--only-own").output)
    assert [len(each["verdicts"]) for each in found["events"]] == [1, 1, 1, 0]
    file.write_bytes(b"version = 3")
    assert "is no file of rules" in run("test", file, events).output
    assert PROGRAMS.rule_ids == {rule.id for rule in book.built_in("1").rules}
