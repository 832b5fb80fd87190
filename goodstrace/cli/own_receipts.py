"""Receipts of one's own looks: kept by every command that looks, and checked by `goodstrace browses --mine --verify`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from goodstrace.checked_receipts import Checked, check_receipts
from goodstrace.cli.display import id_columns, to_second
from goodstrace.cli.identity import login_client, source_for
from goodstrace.client import Client
from goodstrace.errors import AnswerError, CallError, RememberedError
from goodstrace.receipt_store import Kept, ReceiptStore
from goodstrace.receipts import BrowseProof, Receipt, Standing, standing

ANONYMOUS: Final = "anonymous"
_FILE: Final = "receipts.jsonl"
_OFF: Final = ("UNIMPLEMENTED", "NOT_FOUND")
"""How a service without accounts answers who one is."""


def store_of(memory: Path, receipts: Path | None) -> ReceiptStore:
    """Give where receipts are kept: the file `receipts`, or one beside that of the checkpoints."""
    return ReceiptStore(receipts or memory.with_name(_FILE))


def keeper(store: ReceiptStore, target: str) -> Callable[[Receipt], None]:
    """Make what keeps the receipts of a query service. One that cannot be kept is told of, and the look goes on."""

    def keep(receipt: Receipt) -> None:
        try:
            if not store.add(Kept(target, receipt, received_ms=time.time_ns() // 1_000_000)):
                _warn("no room for another receipt: check those kept with goodstrace browses --mine --verify")
        except RememberedError as error:
            _warn(str(error))

    return keep


def own_name(query_target: str, api_key_file: Path | None, user: str) -> str:
    """Tell by which name one's looks are recorded. Raises: CallError."""
    source = source_for(query_target, api_key_file, query_target=query_target)
    try:
        with login_client(query_target, source) as client:
            return client.who_am_i().name
    except CallError as error:
        if error.code not in _OFF:
            raise
        return user or ANONYMOUS


def check_kept(client: Client, store: ReceiptStore, target: str, within_s: float) -> list[Checked]:
    """Check the receipts kept of a query service, and note where they are sealed. Raises: CallError, RememberedError."""
    kept = [each for each in store.all() if each.target == target]
    now_s = time.time()

    def prove(one: Kept) -> BrowseProof:
        return client.browse_proof(one.receipt, within_s=within_s, received_ms=one.received_ms)

    def is_late(one: Kept) -> bool:
        stands = standing(one.receipt, now_s=now_s, within_s=within_s, received_ms=one.received_ms)
        return stands is Standing.MISSING

    checked = list(check_receipts(kept, prove, signing_keys(target), is_late))
    store.proved({each.kept.receipt.browse_id: each.index for each in checked if each.index is not None})
    return checked


def signing_keys(query_target: str) -> Mapping[str, Mapping[str, str]]:
    """Get the keys that receipts are signed with; none where there are no accounts. Raises: CallError, AnswerError."""
    try:
        with login_client(query_target) as client:
            jwks = client.signing_keys()
    except CallError as error:
        if error.code not in _OFF:
            raise
        return {}
    try:
        return {str(each["kid"]): each for each in json.loads(jwks)["keys"]}
    except (ValueError, TypeError, LookupError) as error:
        raise AnswerError("the service's key set is malformed") from error


def as_document(checked: Sequence[Checked]) -> list[dict[str, Any]]:
    """Give checked receipts as JSON has them."""
    return [
        {
            "browse_id": each.kept.receipt.browse_id,
            "time_ms": each.kept.receipt.time_ms,
            "received_ms": each.kept.received_ms,
            "log": each.kept.receipt.log,
            "index": each.index,
            "leaf_hash": each.kept.receipt.leaf_hash.hex(),
            "standing": each.standing.value if each.standing else None,
            "signed": each.signed.value,
            "receipt": each.kept.receipt.signed,
            "problem": each.problem,
            "unchecked": each.unchecked,
        }
        for each in checked
    ]


def show(checked: Sequence[Checked], out: Console) -> None:
    """Print a line for each receipt that is not simply sealed, and the sums; who is to be told is told loudly."""
    broken = [each for each in checked if each.is_broken]
    whole = [each for each in checked if not each.is_broken]
    waiting = [each for each in whole if each.standing is Standing.NOT_YET]
    unchecked = [each for each in whole if each.unchecked]
    table = Table(title="Receipts of looks", title_justify="left")
    id_columns(table, "when (UTC)", "look", "log", "stands", "signed", ids=("look",))
    for each in (*broken, *unchecked, *waiting):
        receipt = each.kept.receipt
        told = f"[red]{escape(each.problem)}[/red]" if each.is_broken else "not checked"
        stands = each.standing.value if each in waiting and each.standing else told
        table.add_row(
            to_second(receipt.time_ms * 1000),
            escape(receipt.browse_id),
            escape(receipt.log),
            stands,
            each.signed.value,
        )
    if table.row_count:
        out.print(table)
    sealed = len(whole) - len(waiting) - len(unchecked)
    not_checked = f", {len(unchecked)} not checked" if unchecked else ""
    out.print(
        f"{len(checked)} receipts: {sealed} sealed, {len(waiting)} not sealed yet, {len(broken)} broken{not_checked}"
    )
    for reason in dict.fromkeys(each.unchecked for each in unchecked):
        out.print(f"[yellow]not checked: {escape(reason)}[/yellow]")
    if broken:
        out.print(
            "[bold red]The service has answered these looks and cannot show them in its log. "
            "Keep the receipts (--json shows them); whoever checks the log can see the same.[/bold red]"
        )


def _warn(text: str) -> None:
    click.echo(f"goodstrace: {text}", err=True)
