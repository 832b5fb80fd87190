"""Proofs of a wrong index in the command line: written where one is found, checked by `goodstrace verify`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape

from goodstrace.cli.display import BY_RETIRED_KEY
from goodstrace.completeness.wrong_index import SUFFIX, decode, verify_wrong_index
from goodstrace.errors import WrongIndexError
from goodstrace.log_keys import LogKeys
from goodstrace.policy import Policy

WRONG_INDEX = "wrong_index"


def write(error: WrongIndexError) -> None:
    """Write the proof into the working folder, beside those written before, and say where."""
    number = 1
    while (path := Path(f"goodstrace-{number}{SUFFIX}")).exists():
        number += 1
    path.write_bytes(error.proof)
    click.echo(
        f"goodstrace: the proof of it is in {path}: check it with `goodstrace verify`, and hand it on",
        err=True,
    )


def result(data: bytes, keys: LogKeys | None, policy: Policy | None) -> dict[str, Any]:
    """Verify a proof; gives what it shows. No quorum is asked for: it is evidence against who signed, whoever cosigned.

    Raises: VerificationError.
    """
    named = [LogKeys([each.verifier]) for each in policy.logs] if policy else []
    trusted = LogKeys.joined(*([keys] if keys else []), *named)
    shown = verify_wrong_index(decode(data), trusted)
    return {
        WRONG_INDEX: {
            "log": shown.entry.log,
            "index": shown.entry.index,
            "origin": shown.entry.checkpoint.origin,
            "tag": shown.tag.hex(),
            "covered_to": shown.leaf.sizes()[shown.entry.log],
            "index_log_size": shown.index.index + 1,
            "root_size": shown.leaf.root.size,
            "by_retired_key": shown.entry.by_retired_key or shown.index.by_retired_key,
        }
    }


def show(document: Mapping[str, Any], name: str, out: Console) -> None:
    """Print what a verified proof shows."""
    said = document[WRONG_INDEX]
    place = f"{said['log']}[{said['index']}]"
    out.print(f"[green]✔ {escape(name)}[/green]: [red]the log `index` is wrong[/red]")
    out.print(
        f"  {escape(place)} of {escape(said['origin'])} has the tag {said['tag']}, and entry {said['index_log_size'] - 1} of the log "
        f"`index`, which covers {said['covered_to']} entries of that log, has no row of it"
    )
    if said["by_retired_key"]:
        out.print(BY_RETIRED_KEY)
