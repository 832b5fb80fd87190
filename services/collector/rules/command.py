"""The commands `goodstrace rules ...`: what rules there are, whether a file of rules is sound, what it finds in events."""

import os
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec

from goodstrace.cli.options import json_option, print_json
from goodstrace.facts import Verdict
from services.collector import documents
from services.collector.books import Books
from services.collector.classify import classify
from services.collector.collect import Rules, Stamp, collect
from services.collector.documents import Limits
from services.collector.errors import BookError, DocumentError
from services.collector.flow import Accepted, Item, Rejected, Unanswered
from services.collector.record import record
from services.collector.rules import book
from services.runtime import clock

_NOBODY = 1
_CAPTURE = bytes(16)

_file = click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))


class Tried(msgspec.Struct, frozen=True):
    """What rules say of one event of a document: `refused` where it would not be captured."""

    file: str
    index: int
    event_id: str = ""
    step: str = ""
    verdicts: tuple[Verdict, ...] = ()
    unanswered: tuple[Unanswered, ...] = ()
    refused: str = ""


@click.group()
def rules() -> None:
    """Rules on single events: what is wrong in an event by itself, told when it is captured and sealed with it.

    \b
    A file of your own (TOML), such as acme.toml:
      version = "acme-1"
      [[rules]]
      id = "acme.too-warm"                  a name of yours, a dot, the rule's name
      severity = "warning"                  info, warning or critical
      about = "report"                      event, report, sensor, quantity or date
      says = "A truck was too warm."        what is wrong, in a sentence
      when = { step = ["logistics"] }       may be left out; type, action, step, shared
      expr = "type == 'Temperature' && highest_celsius > 8.0"
      detail = "{highest} {uom} in a truck" what a verdict tells, with values of the event

    \b
      goodstrace rules list                       the rules that come with the program
      goodstrace rules check acme.toml            is the file sound?
      goodstrace rules test acme.toml a.jsonld    what does it find in these events?
      GOODSTRACE_COLLECTOR_RULES=acme.toml        lets the collector go by it, beside its own rules

    `expr` is CEL (github.com/google/cel-spec) without macros; a rule is tried where everything that its expression reads is there. All
    numbers are doubles (write 8.0), times microseconds. docs/rules.md names all values.
    """  # noqa: D301 - click leaves the paragraph after a backspace as it is


@rules.command("list")
@json_option
def list_(*, as_json: bool) -> None:
    """List the rules that come with the program, newest version."""
    listed = [rule.written for rule in book.built_in(book.BUILT_IN[-1]).rules]
    if as_json:
        print_json({"version": book.BUILT_IN[-1], "rules": listed})
        return
    for written in listed:
        click.echo(f"{written.severity:<9}{written.about:<9}{written.id}")
        click.echo(f"    {written.says}")


@rules.command()
@_file
@json_option
def check(file: Path, *, as_json: bool) -> None:
    """Check a file of rules: its form, that each expression compiles, and that all it reads is there to be read.

    Each expression is tried on an example too, so that a number compared with a text is found. The exit status is 0 where nothing is
    wrong.
    """
    found = book.problems(file.read_bytes())
    if as_json:
        print_json({"file": str(file), "sound": not found, "problems": found})
    else:
        for problem in found:
            click.echo(f"{file}: {problem}")
        if not found:
            sound = book.operators(file.read_bytes())
            click.echo(f"{file}: {len(sound.rules)} rules, sealed as {sound.name}")
    raise SystemExit(1 if found else 0)


@rules.command()
@_file
@click.argument(
    "events", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option("--only-own", is_flag=True, help="Try the rules of FILE only, not those of the program.")
@json_option
def test(file: Path, events: tuple[Path, ...], *, only_own: bool, as_json: bool) -> None:
    """Show which rules hold for which events of documents (EPCIS 2.0 JSON), without any service; nothing is captured.

    The exit status is 0 where all events could be read and every rule had an answer, whatever was found.
    """
    try:
        own = book.operators(file.read_bytes())
    except BookError as error:
        raise click.ClickException(f"{file}: {error}; see goodstrace rules check") from error
    tried = [each for path in events for each in _try(path, Books(rule_sets=[own]))]
    if only_own:
        names = {rule.id for rule in own.rules}
        tried = [_limited(each, names) for each in tried]
    if as_json:
        print_json({"rules": own.name, "events": tried})
    else:
        for each in tried:
            _print_tried(each)
    raise SystemExit(1 if any(each.refused or each.unanswered for each in tried) else 0)


def _try(path: Path, books: Books) -> Iterator[Tried]:
    stamp = Stamp(_CAPTURE, _NOBODY, clock.now_ms())
    going_by = Rules(rule_sets=books.rule_sets)
    try:
        sent = collect(documents.read(path.read_bytes(), Limits()), stamp, going_by, os.urandom)
    except DocumentError as error:
        yield Tried(str(path), 0, refused=str(error))
        return
    for index, each in enumerate(sent):
        yield _classified(str(path), index, each.outcome, books)


def _classified(path: str, index: int, outcome: Item | Rejected, books: Books) -> Tried:
    if isinstance(outcome, Item):
        recorded = record(outcome)
        assert isinstance(recorded, Accepted)
        passed = classify(books, recorded.item)
        assert isinstance(passed, Accepted)
        facts = passed.item.facts
        return Tried(path, index, facts.event_id, facts.step, facts.verdicts, passed.unanswered)
    rejection = outcome.record.rejection
    return Tried(path, index, refused=rejection.detail if rejection else "")


def _limited(tried: Tried, names: set[str]) -> Tried:
    return msgspec.structs.replace(
        tried,
        verdicts=tuple(each for each in tried.verdicts if each.rule in names),
        unanswered=tuple(each for each in tried.unanswered if each.rule in names),
    )


def _print_tried(tried: Tried) -> None:
    click.echo(f"{tried.file}[{tried.index}] {tried.step} {tried.event_id}".rstrip())
    if tried.refused:
        click.echo(f"  refused: {tried.refused}")
    for verdict in tried.verdicts:
        click.echo(f"  {verdict.severity}: {verdict.rule}: {verdict.detail}  {verdict.at}".rstrip())
    for each in tried.unanswered:
        click.echo(f"  no answer: {each.rule}: {each.reason}  {each.at}".rstrip())
