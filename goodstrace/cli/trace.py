"""`goodstrace trace`: the way of goods as a tree, each event with the verdict of its proof."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import click
import msgspec
from google.protobuf.json_format import MessageToDict
from rich.console import Console
from rich.markup import escape
from rich.tree import Tree

from goodstrace.answers import Trace
from goodstrace.cli import wrong_index
from goodstrace.cli.asked import KEY
from goodstrace.cli.display import NOTHING_NAMES_IT, console, moment, short, to_second
from goodstrace.cli.moments import moment_us
from goodstrace.cli.options import as_of_option, client_options, connect, json_option, print_json, sizes_of
from goodstrace.cli.pinned import pinned_document, root_proofs, show_pinned
from goodstrace.cli.runs import Shown, runs
from goodstrace.cli.signers import signers
from goodstrace.cli.withheld import show_withheld, withheld_document
from goodstrace.client_streams import DEFAULT_DEPTH, DIRECTIONS
from goodstrace.errors import WrongIndexError
from goodstrace.facts import STEPS, Severity, Verdict
from goodstrace.grouping import grouped
from goodstrace.query.v1.trace_pb2 import Certainty, Direction, TraceMention, TraceNode
from goodstrace.retrace import ShownEvent
from goodstrace.tracing import EventFilter

_HEADINGS: Final = {
    Direction.DIRECTION_UPSTREAM: "made from",
    Direction.DIRECTION_DOWNSTREAM: "went into",
}
_MAX_EVENTS_SHOWN: Final = 20
_SEVERITIES: Final = {Severity.INFO: "cyan", Severity.WARNING: "yellow", Severity.CRITICAL: "bold red"}


@click.command()
@click.argument("key", type=KEY)
@click.option(
    "--direction",
    type=click.Choice(sorted(DIRECTIONS)),
    default="both",
    show_default=True,
    help="Which way to go.",
)
@click.option(
    "--depth",
    default=DEFAULT_DEPTH,
    show_default=True,
    type=click.IntRange(1, 100),
    help="Levels at the most.",
)
@as_of_option
@click.option(
    "--from",
    "from_us",
    type=moment_us,
    default=0,
    metavar="TIME",
    help="Show events from this time on only, such as 2026-03-01 or 2026-03-01T08:00:00+02:00 (UTC without offset).",
)
@click.option(
    "--to",
    "until_us",
    type=moment_us,
    default=0,
    metavar="TIME",
    help="Show events before this time only.",
)
@click.option(
    "--step",
    "steps",
    multiple=True,
    type=click.Choice(STEPS),
    help="Show events of this step only, such as logistics; may be given several times.",
)
@click.option(
    "--root",
    "up_to_root",
    is_flag=True,
    help="Prove too that the root log covers what the answer rests on; waits for its next rounds.",
)
@click.option(
    "--all",
    "show_all",
    is_flag=True,
    help="Show every event of a node on a line of its own, instead of 20 lines with repeated reads put together.",
)
@click.option(
    "--complete/--no-complete",
    "complete",
    default=None,
    help="Prove too that nothing is left out, and fail where that cannot be proved; by default where it can be.",
)
@client_options
@json_option
def trace(
    key: str,
    direction: str,
    depth: int,
    as_of: tuple[str, ...],
    *,
    from_us: int,
    until_us: int,
    steps: tuple[str, ...],
    up_to_root: bool,
    show_all: bool,
    complete: bool | None,
    as_json: bool,
    **connection: Any,
) -> None:
    """Trace KEY: its history, what it was made from and what it went into, level by level.

    KEY is an EPC URN, a GS1 Digital Link, any other URI, a GTIN or an SSCC, or what stands under a code, such as
    "(01)09521234543213(10)A". Every event shown has been verified: it is in its log under a
    signed checkpoint that is consistent with those seen before, and it is byte for byte what was sealed. Where the service keeps
    the log `index`, it is proved that no event is left out, up to what that covers. The look-up is recorded.
    """
    sizes = sizes_of(as_of)
    with connect(**connection) as client:
        only = EventFilter(from_us, until_us, frozenset(steps))
        try:
            answer = client.trace(
                key, direction=direction, max_depth=depth, as_of=sizes, only=only, complete=complete
            )
        except WrongIndexError as error:
            wrong_index.write(error)
            raise
        pinned = root_proofs(client, answer.checkpoints) if up_to_root else None
    if as_json:
        root = {"root": pinned_document(pinned)} if pinned is not None else {}
        print_json(as_document(answer) | root)
    else:
        out = console()
        show(answer, out, most_events=sys.maxsize if show_all else _MAX_EVENTS_SHOWN)
        show_pinned(pinned or {}, out)
    if pinned is not None and None in pinned.values():
        sys.exit(1)


def as_document(answer: Trace) -> dict[str, Any]:
    """Give a verified trace as JSON-like values."""
    return {
        "key": answer.key,
        "verified": True,
        "nodes": [MessageToDict(node, preserving_proto_field_name=True) for node in answer.nodes],
        "events": [_event_document(each) for each in answer.events],
        "checkpoints": {log: each.note for log, each in sorted(answer.checkpoints.items())},
        "withheld": answer.withheld,
        "total_withheld": answer.total_withheld,
        "withheld_entries": [withheld_document(each) for each in answer.withheld_entries],
        "erased": answer.erased,
        "truncated": answer.truncated,
        "filtered": answer.filtered,
        "tree_verified": answer.tree_verified,
        "browse_ids": list(answer.browse_ids),
        "complete": _complete_document(answer),
    }


def show(answer: Trace, out: Console, *, most_events: int = _MAX_EVENTS_SHOWN) -> None:
    """Print a verified trace as a tree: the goods' history, then each level under the key it was met through."""
    by_node = _events_by_node(answer)
    spelled = "" if short(answer.key) == answer.key else f" [dim]{escape(answer.key)}[/dim]"
    root = Tree(f"[bold]{escape(short(answer.key))}[/bold]{spelled}")
    _add_events(root, by_node.get(answer.key, []), most_events)
    children = _children(answer)
    for direction, heading in _HEADINGS.items():
        branch = None
        for node in children.get((direction, answer.key), []):
            branch = branch or root.add(f"[bold cyan]{heading}[/bold cyan]")
            _add_node(branch, node, children, by_node, most_events)
    carriers = [node for node in answer.nodes if node.role == "container"]
    if carriers:
        branch = root.add("[bold cyan]carried by[/bold cyan]")
        for node in carriers:
            branch.add(f"[bold]{escape(short(node.key))}[/bold] [dim]level {node.level}[/dim]")
    out.print(root)
    _show_totals(answer, out)


def _show_totals(answer: Trace, out: Console) -> None:
    levels = max((node.level for node in answer.nodes), default=0)
    proofs = sum(1 + len(each.event.also_at) for each in answer.events)
    not_asked = f" ({answer.filtered} more not asked for)" if answer.filtered else ""
    out.print(
        f"{len(answer.events)} events{not_asked}, {len(answer.nodes)} keys, {levels} levels; "
        f"[green]{proofs} of {proofs} inclusion proofs verified[/green]; "
        + (
            "[green]the tree follows from these events[/green]"
            if answer.tree_verified
            else "[yellow]the tree could not be derived again[/yellow]"
        )
    )
    for log, each in sorted(answer.checkpoints.items()):
        out.print(f"  [dim]{log}: signed checkpoint of {each.checkpoint.size} entries[/dim]")
    out.print(f"  [dim]recorded as browse {', '.join(answer.browse_ids)}[/dim]")
    if answer.events or answer.total_withheld:
        out.print("  [dim]✔ log\\[index]: proved to be sealed there, byte for byte[/dim]")
    elif answer.filtered:
        out.print("[yellow]none of the events is of those asked for[/yellow]")
    else:
        out.print(f"[yellow]{NOTHING_NAMES_IT}[/yellow]")
    for line in signers(each.event for each in answer.events):
        out.print(f"  [dim]{escape(line)}[/dim]")
    _show_complete(answer, out)
    if answer.truncated:
        out.print(
            "[yellow]a limit was reached: there may be more; ask with a smaller --depth or from a nearer key[/yellow]"
        )
    show_withheld(answer.withheld_entries, out)
    if answer.withheld or answer.erased:
        out.print(f"[yellow]parts of {answer.withheld} events withheld, of {answer.erased} erased[/yellow]")


def _show_complete(answer: Trace, out: Console) -> None:
    shown = answer.complete
    if shown is None:
        if answer.incomplete_because:
            out.print(f"[yellow]not proved to be complete: {escape(answer.incomplete_because)}[/yellow]")
        return
    sizes = ", ".join(f"{log} {size}" for log, size in sorted(shown.sizes.items()))
    upto = f" (root log of {shown.root_size} entries)" if shown.root_size is not None else ""
    newer = f"; {shown.newer} newer entries shown and not claimed" if shown.newer else ""
    unseen = f"; the content of {shown.withheld} of them is withheld" if shown.withheld else ""
    what = (
        "nothing is left out"
        if answer.events or answer.total_withheld or answer.filtered
        else "that nothing sealed names it is proved"
    )
    out.print(
        f"[green]complete: {what}[/green] up to {sizes}{upto}: {shown.names} names, {shown.rows} rows proved{unseen}{newer}"
    )


def _complete_document(answer: Trace) -> dict[str, Any]:
    """Say up to where the answer is complete, or why that was not proved."""
    if answer.complete is None:
        return {"proved": False, "because": answer.incomplete_because}
    return {"proved": True, **asdict(answer.complete), "sizes": dict(answer.complete.sizes)}


def _add_node(
    branch: Tree,
    node: TraceNode,
    children: Mapping[tuple[int, str], list[TraceNode]],
    by_node: Mapping[str, list[tuple[ShownEvent, TraceMention]]],
    most_events: int,
) -> None:
    marks = "".join(f" [yellow]{escape(mark)}[/yellow]" for mark in node.marks)
    sure = "" if node.certainty == Certainty.CERTAINTY_CERTAIN else " [yellow]possible[/yellow]"
    twig = branch.add(
        f"[bold]{escape(short(node.key))}[/bold] [dim]level {node.level} {node.grade}, {node.links[0].kind}[/dim]{sure}{marks}"
    )
    _add_events(twig, by_node.get(node.key, []), most_events)
    for child in children.get((node.direction, node.key), []):
        _add_node(twig, child, children, by_node, most_events)


def _children(answer: Trace) -> Mapping[tuple[int, str], list[TraceNode]]:
    """Group the nodes under the first key they were met through, so that each is shown once."""
    return grouped(
        ((node.direction, node.links[0].key), node)
        for node in answer.nodes
        if node.level > 0 and node.links and node.role != "container"
    )


def _events_by_node(answer: Trace) -> Mapping[str, list[tuple[ShownEvent, TraceMention]]]:
    return grouped((mention.key, (event, mention)) for event in answer.events for mention in event.mentions)


def _add_events(branch: Tree, events: list[tuple[ShownEvent, TraceMention]], most: int) -> None:
    """Add a line for each event, and one for a run of reads, `most` lines at the most."""
    lines: Sequence[Sequence[Shown]] = [[each] for each in events] if most == sys.maxsize else runs(events)
    for run in lines[:most]:
        line = branch.add(_event_line(*run[0], _times(run)))
        facts = run[0][0].event.facts
        for verdict in facts.verdicts if facts else ():
            line.add(_verdict_line(verdict))
        for pointer, value in run[0][0].event.personal().items():
            line.add(f"[dim]{escape(pointer)}[/dim] {escape(msgspec.json.encode(value).decode())}")
    left = sum(map(len, lines[most:]))
    if left:
        branch.add(f"[dim]... and {left} more events (--all shows them)[/dim]")


def _times(run: Sequence[Shown]) -> str:
    """Say of a run of reads how many there are, and from when to when; nothing of a single event."""
    first, last = run[0][0].event.facts, run[-1][0].event.facts
    if len(run) == 1 or first is None or last is None:
        return ""
    return f" [yellow]read {len(run)} times, {to_second(first.time_us)} .. {to_second(last.time_us)}[/yellow]"


def _event_line(traced: ShownEvent, mention: TraceMention, times: str = "") -> str:
    event = traced.event
    signed = " [green]signed[/green]" if event.signed_by else ""
    others = " and the others" if times else ""
    proof = f"[green]✔ {event.position.log}\\[{event.position.index}]{others}[/green]{signed}"
    if event.facts is None:
        return f"[dim]withheld[/dim] {proof}"
    facts = event.facts
    what = escape(" ".join(filter(None, (facts.business_step or facts.type, facts.action.lower()))))
    where = facts.read_point or facts.business_location
    place = f" [dim]at {escape(short(where))}[/dim]" if where else ""
    inside = f" [dim]in {escape(short(mention.path[0]))}[/dim]" if mention.path else ""
    sure = " [yellow]possible[/yellow]" if mention.certainty == Certainty.CERTAINTY_POSSIBLE else ""
    marks = "".join(f" [yellow]{escape(mark)}[/yellow]" for mark in traced.marks)
    if facts.correction and facts.correction.corrective_ids:
        marks += f" [yellow]see {escape(', '.join(facts.correction.corrective_ids))}[/yellow]"
    return f"{moment(facts.time_us)} [magenta]{facts.step or 'other':11}[/magenta] {what}{place}{inside}{sure}{marks}{times} {proof}"


def _verdict_line(verdict: Verdict) -> str:
    colour = _SEVERITIES.get(verdict.severity, "yellow")
    place = f" [dim]{escape(verdict.at)}[/dim]" if verdict.at else ""
    whose = (
        f" [dim]as registered for {escape(', '.join(verdict.registered))}[/dim]" if verdict.registered else ""
    )
    return f"[{colour}]{escape(verdict.severity)}: {escape(verdict.detail)}[/{colour}]{whose} [dim]{escape(verdict.rule)}[/dim]{place}"


def _event_document(traced: ShownEvent) -> dict[str, Any]:
    event = traced.event
    return {
        "identity": event.identity,
        "event_id": event.facts.event_id if event.facts else None,
        "proof": {"log": event.position.log, "index": event.position.index, "verified": True},
        "signed_by": event.signed_by,
        "key_registered": (
            {"log": event.registration.log, "index": event.registration.index, "verified": True}
            if event.registration
            else None
        ),
        # Without facts it is proved that something is sealed there, and not that it is this event.
        "also_at": [
            {"log": each.log, "index": each.index, "verified": each in event.shown_at}
            for each in event.also_at
        ],
        "marks": list(traced.marks),
        "mentions": [MessageToDict(each, preserving_proto_field_name=True) for each in traced.mentions],
        "facts": msgspec.to_builtins(event.facts) if event.facts else None,
        "event": event.document(),
        "personal": event.personal(),
    }
