"""Draws the examples of docs/tracing-examples.md from what the tracing engine answers: `python -m tools.tracing_examples [--check]`."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from goodstrace.tracing import Link, Node, Query, Trace, TracedEvent, drive, trace
from tools.tracing_cases import EXAMPLES, Example
from tools.tracing_chains import key_of, name_of, sealed_of, source_of

PAGE = Path(__file__).parents[1] / "docs" / "tracing-examples.md"
_HEAD = """# Tracing by example

One example for each rule of [tracing](tracing.md) but the last, which is the server's, drawn from what the engine answers. This page is generated: change
`tools/tracing_cases.py` and run `.venv/bin/python -m tools.tracing_examples`.

Events are written as lines: a number, the event time, what happened. They were sealed in this order; `@2` before a line is another
merchant than 1. Each key is shown with its level, with the links by which it was met, and with its events: time, line, how sure it is that it
concerned the goods, and by which containers, sensor or lot. Below are the containers, from left to right in time: `├` put in, `┤` taken
out, `▷` still in, `·` in since who knows when.
"""


class Bar(NamedTuple):
    """A stay in a container, from and until (None: not known, open)."""

    link: Link
    container: str


def page() -> str:
    """Draw the whole page."""
    return _HEAD + "".join(f"\n{drawn(each)}" for each in EXAMPLES)


def drawn(example: Example) -> str:
    """Draw one example."""
    sealed = sealed_of(example.lines)
    query = Query(key_of(example.root), example.direction)
    answer = drive(trace(query), source_of(sealed))
    lines = [
        *_numbered(example.lines),
        "",
        f"trace {example.root} {example.direction.value}",
        *_answer(answer),
    ]
    return (
        f"## {example.title}\n\n{example.text}\n\n```\n"
        + "\n".join(line.rstrip() for line in lines)
        + "\n```\n"
    )


def _numbered(lines: Iterable[str]) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        yield f"e{number:<3} {line}"


def _answer(answer: Trace) -> Iterator[str]:
    by_identity = {event.identity: event for event in answer.events}
    for node in answer.nodes:
        if node.role == "goods":
            yield from _goods(node, answer, by_identity)
    carried = [node for node in answer.nodes if node.role == "container"]
    if carried:
        yield ""
        yield from _bars(carried, by_identity)
    silent = [_name(event) for event in answer.events if not event.mentions]
    if silent:
        yield ""
        yield f"there to prove it: {', '.join(silent)}"


def _goods(node: Node, answer: Trace, by_identity: dict[str, TracedEvent]) -> Iterator[str]:
    way = {"upstream": "◀ ", "downstream": "▶ "}.get(node.direction.value, "")
    marks = "".join(f" [{mark}]" for mark in node.marks)
    sure = "" if node.certainty == "certain" else " (possible)"
    indent = "  " * node.level
    yield f"{indent}{way}{name_of(node.key)}  level {node.level}{sure}{marks}"
    for link in node.links:
        events = ", ".join(_name(by_identity[each]) for each in link.identities)
        seen = "".join(f" [{mark}]" for mark in link.marks)
        yield f"{indent}    {link.kind.value} {name_of(link.key)} by {events}{seen}"
    for order in node.transactions:
        until = f" to {order.until_us}" if order.until_us else ""
        yield f"{indent}    order {order.key} from {order.from_us}{until}"
    for event in answer.events:
        for mention in event.mentions:
            if mention.key == node.key:
                path = f"  by {' ▸ '.join(map(name_of, mention.path))}" if mention.path else ""
                told = "".join(f" [{mark}]" for mark in event.marks)
                yield f"{indent}    {event.facts.time_us:>3} {_name(event)} {mention.certainty.value}{path}{told}"


def _bars(carried: list[Node], by_identity: dict[str, TracedEvent]) -> Iterator[str]:
    """Draw who was in what from when until when."""
    bars = [Bar(link, node.key) for node in carried for link in node.links]
    times = [time for bar in bars for time in (bar.link.from_us, bar.link.until_us) if time]
    last = max([*times, 1]) + 1
    for bar in bars:
        link = bar.link
        start, end = link.from_us or 0, link.until_us or last
        line = (
            " " * start
            + ("·" if not link.from_us else "├")
            + "─" * max(end - start - 1, 0)
            + ("┤" if link.until_us else "▷")
        )
        events = ", ".join(_name(by_identity[each]) for each in link.identities)
        marks = "".join(f" [{mark}]" for mark in link.marks)
        kind = "in" if link.kind == "contained" else "associated with"
        yield f"{line:<{last + 2}} {name_of(link.key)} {kind} {name_of(bar.container)} by {events}{marks}"


def _name(event: TracedEvent) -> str:
    return "+".join(f"e{index + 1}" for _, index in event.positions)


def main() -> None:
    """Write the page; with --check only say whether it is up to date."""
    if "--check" in sys.argv[1:]:
        sys.exit(PAGE.read_text(encoding="utf-8") != page() and f"{PAGE.name} is not up to date")
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE.name}: {len(EXAMPLES)} examples")


if __name__ == "__main__":
    main()
