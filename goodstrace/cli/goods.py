"""`goodstrace goods`: how goods stand, each statement with the events that prove it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from goodstrace.cli.asked import KEY
from goodstrace.cli.display import console, moment, short
from goodstrace.cli.options import as_of_option, client_options, connect, json_option, print_json, sizes_of
from goodstrace.cli.subscribe import document
from goodstrace.cli.withheld import show_withheld, withheld_document
from goodstrace.goods_answer import Goods
from goodstrace.query.v1.goods_pb2 import GoodsState, GoodsStatement

_WARNING: Final = "flag"


@click.command()
@click.argument("key", type=KEY)
@as_of_option
@client_options
@json_option
def goods(key: str, as_of: tuple[str, ...], *, as_json: bool, **connection: Any) -> None:
    """Tell how KEY stands: where, with whom, in what, since when.

    The state was derived again from the events that the service shows for it, each of which was verified: it is sealed, and it is
    byte for byte what was captured. The look-up is recorded.
    """
    sizes = sizes_of(as_of)
    with connect(**connection) as client:
        answer = client.goods(key, as_of=sizes)
    if as_json:
        print_json(as_document(answer))
    else:
        show(answer, console())


def as_document(answer: Goods) -> dict[str, Any]:
    """Give a verified answer as JSON-like values."""
    registered = answer.registered
    return {
        "key": answer.key,
        "verified": True,
        "states": [_state_document(each) for each in answer.messages],
        "carriers": list(answer.carriers),
        "orders": [{"key": each.value, "type": each.type} for each in answer.orders],
        "registered": {
            "key": registered.content.key,
            "merchant": registered.merchant,
            "names": registered.content.names,
            "pictures": [{"uri": each.uri, "sha256": each.sha256} for each in registered.content.pictures],
            "attributes": registered.content.attributes,
            "proof": {"log": registered.entry.log, "index": registered.entry.index, "verified": True},
        }
        if registered
        else None,
        "events": [document(each) for each in answer.events.values()],
        "delegations": [
            {"log": each.log, "index": each.index, "merchant": each.entry.merchant, "verified": True}
            for each in answer.delegations
        ],
        "checkpoints": {log: each.note for log, each in sorted(answer.checkpoints.items())},
        "withheld_entries": [withheld_document(each) for each in answer.withheld],
        "truncated": answer.truncated,
        "browse_ids": list(answer.browse_ids),
    }


def _state_document(state: GoodsState) -> dict[str, Any]:
    return {
        "key": state.key,
        "grade": state.grade,
        "statements": [_statement_document(each) for each in state.statements],
        "unsure": list(state.unsure),
        "cut": list(state.cut),
    }


def _statement_document(each: GoodsStatement) -> Mapping[str, Any]:
    return {
        "field": each.field,
        "value": each.value,
        **({"type": each.type} if each.type else {}),
        "since_us": each.since_us,
        **({"since_at_latest": True} if each.since_at_latest else {}),
        **({"start_unknown": True} if each.start_unknown else {}),
        "time_us": each.time_us,
        "identities": list(each.identities),
    }


def show(answer: Goods, out: Console) -> None:
    """Print a verified answer: what is registered, how the goods stand, and what they are in."""
    name = ""
    if answer.registered is not None:
        names = answer.registered.content.names
        said = names.get("en") or next(iter(names.values()), "")
        name = f" {escape(said)} [dim]registered by merchant {answer.registered.merchant}[/dim]"
    out.print(f"[bold]{escape(short(answer.key))}[/bold]{name}")
    for state in answer.messages:
        if state.statements:
            _show_state(state, answer, out)
    place = next(
        (
            answer.states[key].told["place"]
            for key in reversed([answer.key, *answer.carriers])
            if "place" in answer.states[key].told
        ),
        None,
    )
    if place is not None and answer.carriers:
        out.print(f"it is where {escape(short(answer.carriers[-1]))} is: {escape(short(place.value))}")
    for order in answer.states[answer.key].orders:
        if order not in answer.orders:
            out.print(
                f"it is not in order {escape(short(order.value))} any more: all goods were taken off it"
            )
    out.print(f"[green]{len(answer.events)} events verified, and the state follows from them[/green]")
    for log, each in sorted(answer.checkpoints.items()):
        out.print(f"  [dim]{log}: signed checkpoint of {each.checkpoint.size} entries[/dim]")
    out.print(f"  [dim]recorded as browse {', '.join(answer.browse_ids)}[/dim]")
    if not answer.events:
        out.print("[yellow]nothing sealed tells a state of this key[/yellow]")
    show_withheld(answer.withheld, out)
    if answer.truncated:
        out.print("[yellow]it has more events than are looked at: the newest sealed were[/yellow]")


def _show_state(state: GoodsState, answer: Goods, out: Console) -> None:
    title = f"{short(state.key)} ({state.grade})"
    table = Table(title=escape(title), title_justify="left")
    for column in ("what", "how", "since (UTC)", "last said", "proved by"):
        table.add_column(column)
    for each in state.statements:
        value = escape(short(each.value) + (f" ({each.type})" if each.type else ""))
        since = moment(each.since_us)
        table.add_row(
            escape(each.field),
            f"[bold yellow]{value}[/bold yellow]" if each.field == _WARNING else value,
            f"{since} or before" if each.since_at_latest or each.start_unknown else since,
            moment(each.time_us),
            ", ".join(_place(answer, identity) for identity in each.identities),
        )
    out.print(table)
    if state.unsure:
        out.print(f"[yellow]not sure: {escape(', '.join(state.unsure))} (a trace tells)[/yellow]")


def _place(answer: Goods, identity: str) -> str:
    at = answer.events[identity].position
    return escape(f"{at.log}[{at.index}]")
