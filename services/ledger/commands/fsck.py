"""The command `goodstrace fsck`: everything that is stored, read from MongoDB and derived again."""

import asyncio
import hashlib
import os
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final, NoReturn

import click
import msgspec

from goodstrace.cli.options import json_option, policy_text
from goodstrace.errors import GoodstraceError
from goodstrace.log_keys import INDEX_LOG, ROOT_LOG, LogKeys
from services.ledger.commands.fsck_report import Report, ShownProgress
from services.runtime import clock
from services.runtime.errors import ServiceError
from services.runtime.mongo import Mongo
from services.runtime.settings import KafkaSettings, MongoSettings, load
from services.runtime.state_file import StateFile
from services.sealing.fsck import jobs, repair, store
from services.sealing.fsck.against import read_saved
from services.sealing.fsck.broker import check_broker
from services.sealing.fsck.faults import Standing, Verdict
from services.sealing.fsck.feeding import Progress
from services.sealing.fsck.index_log_check import check_index
from services.sealing.fsck.scan import MongoDocuments
from services.sealing.fsck.store import Options, Survey
from services.sealing.operations import Operations

EXIT_FAULTS: Final = 1
EXIT_NOT_RUN: Final = 2
SMALL: Final = 50_000  # entries that are checked sooner than processes start
_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
_PATH: Final = click.Path(exists=True, path_type=Path)


class _NotRunError(click.ClickException):
    """The check could not be made."""

    exit_code = EXIT_NOT_RUN


@click.command()
@click.option(
    "--log", "logs", multiple=True, help="Check this log only, such as goods/0; may be given again."
)
@click.option(
    "--vkeys",
    type=_PATH,
    envvar="GOODSTRACE_LOG_KEYS",
    help="File of vkey lines, or folder of *.vkey files: trust these keys, not those that the store names.",
)
@click.option(
    "--policy",
    "policy_file",
    type=_FILE,
    envvar="GOODSTRACE_WITNESS_POLICY",
    help="C2SP tlog-policy file: check its witnesses' cosignatures, and the quorum of what is published.",
)
@click.option(
    "--against",
    type=_PATH,
    multiple=True,
    help="Checkpoint or tlog-proof file that somebody saved, or a folder of them; may be given again.",
)
@click.option("--kafka", is_flag=True, help="Ask Kafka too: cluster, topic IDs, and offsets.")
@click.option("--jobs", "workers", type=click.IntRange(1, 256), help="Processes at once (one for each core).")
@click.option(
    "--state",
    "state_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Keep in this file how far the check is, and go on from it after an interruption.",
)
@click.option(
    "--no-note",
    "without_note",
    is_flag=True,
    help="Write no note of what was found into the store, for `goodstrace doctor`: for a store that is evidence.",
)
@click.option("--repair", "mend", is_flag=True, help="Make again what is derived; never what is sealed.")
@click.option("--yes", is_flag=True, help="With --repair: do not ask.")
@click.option(
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the JSON document to this file as well.",
)
@json_option
def fsck(
    *,
    logs: tuple[str, ...],
    vkeys: Path | None,
    policy_file: Path | None,
    against: tuple[Path, ...],
    kafka: bool,
    workers: int | None,
    state_file: Path | None,
    without_note: bool,
    mend: bool,
    yes: bool,
    report: Path | None,
    as_json: bool,
) -> None:
    """Check everything stored in MongoDB, from each log's first block on.

    Derives anew what each log must hold (entries, parts and salts, tags, leaf hashes, headers, signatures, roots, Kafka
    offsets, tiles, the index by tag, checkpoints, cosignatures) and names log, block, index and field of each fault.
    MONGODB_URI and GOODSTRACE_DATABASE say where the store is. Without --repair nothing is written there but a note of what was found
    (collection `operations`), which --no-note leaves out.

    Exits with 0 when all is sound, 1 when there are faults, 2 when it could not run.
    """
    if mend and state_file:
        raise click.UsageError("--repair reads all logs anew: it goes without --state")
    if mend and without_note:
        raise click.UsageError("--no-note is for a store that nobody writes to: it goes without --repair")
    try:
        options = Options(
            names=logs,
            trusted=LogKeys.load(vkeys) if vkeys else None,
            policy=policy_text(policy_file) if policy_file else None,
            saved=tuple(read_saved(against)) if against else (),
        )
        run = _Run(
            options, workers, state_file, bootstrap=load(KafkaSettings).bootstrap_servers if kafka else None
        )
        verdicts = run.check()
        if not verdicts:
            raise _NotRunError("the store has no logs: nothing was checked")
        if mend:
            verdicts = _repaired(run, verdicts, yes=yes)
        if not without_note:
            run.note(verdicts)
        shown = Report(verdicts, trusted_keys=vkeys is not None, seconds=run.seconds)
        if report is not None:
            report.write_text(shown.json() + "\n", encoding="utf-8")
    except (ServiceError, GoodstraceError, OSError) as error:
        raise _NotRunError(str(error)) from error
    except KeyboardInterrupt as error:
        raise _NotRunError("interrupted; with --state FILE the same command goes on where it was") from error
    click.echo(shown.json() if as_json else shown.text())
    sys.exit(0 if shown.sound else EXIT_FAULTS)


class _Run:
    """Checks of one store with the same options."""

    def __init__(
        self, options: Options, workers: int | None, state_file: Path | None, *, bootstrap: str | None
    ) -> None:
        self._options = options
        self._workers = workers
        self._state_file = state_file
        self._bootstrap = bootstrap
        self._mongo = load(MongoSettings)
        self.seconds = 0.0

    def check(self) -> list[Verdict]:
        """Check all logs."""
        state, found = asyncio.run(self._survey())
        for log in found.stale:
            click.echo(
                f"{log}: the state file is of another log than the store's: checked from its start", err=True
            )
        verdicts = self._work(found, state, repairing=False)
        if state is not None:
            state.remove()
        return asyncio.run(self._finished(verdicts, found))

    def repair(self, logs: Collection[str]) -> None:
        """Write what is derived of logs in which nothing else is wrong."""
        _, found = asyncio.run(self._survey())
        found.jobs = [
            msgspec.structs.replace(job, repair=True) for job in found.jobs if job.info.name in logs
        ]
        verdicts = self._work(found, None, repairing=True)
        if INDEX_LOG in logs:
            asyncio.run(self._index_repaired(verdicts))

    def note(self, verdicts: Sequence[Verdict]) -> None:
        """Note what was found, for `goodstrace doctor`; where this user may not write, say so and go on."""
        try:
            asyncio.run(self._noted(verdicts))
        except ServiceError as error:
            click.echo(f"what was found is not noted for `goodstrace doctor`: {error}", err=True)

    async def _noted(self, verdicts: Sequence[Verdict]) -> None:
        mongo = Mongo(self._mongo)
        try:
            notes = Operations(mongo.database)
            await notes.check_ended(verdicts, clock.now_ms())
        finally:
            mongo.close()

    async def _index_repaired(self, verdicts: Sequence[Verdict]) -> None:
        mongo = Mongo(self._mongo)
        try:
            await check_index(mongo.database, verdicts, repair=True)
        finally:
            mongo.close()

    def _work(self, found: Survey, state: StateFile[Progress] | None, *, repairing: bool) -> list[Verdict]:
        shown = ShownProgress("repaired" if repairing else "checked", found.sizes, found.jobs)

        def told(log: str, progress: Progress) -> None:
            shown.told(log, progress)
            if state is not None:
                state.keep(log, progress)
                state.write()

        small = sum(found.sizes.values()) < SMALL
        workers = self._workers or (1 if small else os.cpu_count() or 1)
        try:
            return jobs.run(found.jobs, workers, told)
        finally:
            self.seconds += shown.ended()

    async def _survey(self) -> tuple[StateFile[Progress] | None, Survey]:
        mongo = Mongo(self._mongo)
        try:
            documents = MongoDocuments(mongo.database)
            of = _fingerprint(await documents.instance(), self._mongo.database, self._options)
            state = StateFile(self._state_file, of, Progress) if self._state_file else None
            return state, await store.survey(documents, self._options, self._mongo, state)
        finally:
            mongo.close()

    async def _finished(self, verdicts: Sequence[Verdict], found: Survey) -> list[Verdict]:
        mongo = Mongo(self._mongo)
        try:
            documents = MongoDocuments(mongo.database)
            await store.count_pins(documents, verdicts)
            await check_index(mongo.database, verdicts)
            if self._bootstrap is not None:
                await check_broker(documents, {each.log: each for each in verdicts}, self._bootstrap)
        finally:
            mongo.close()
        return store.merged(verdicts, found)


def _repaired(run: _Run, verdicts: list[Verdict], *, yes: bool) -> list[Verdict]:
    """Make again what is derived, and check all of it once more."""
    refused = {verdict.log: reason for verdict, reason in repair.refusals(verdicts)}
    wanted = [each for each in verdicts if each.of(Standing.DERIVED) and each.log not in refused]
    for log, reason in refused.items():
        click.echo(f"{log}: not repaired: {reason}", err=True)
    if not wanted:
        click.echo("nothing to repair", err=True)
        return verdicts
    for line in repair.plan(wanted):
        click.echo(f"to be made again: {line}", err=True)
    if not yes:
        if not sys.stdin.isatty():
            _complain("--repair wants --yes where nobody can be asked; nothing was written")
        click.confirm("Write these documents?", abort=True, err=True)
    logs = {verdict.log for verdict in wanted}
    if any("pinned" in verdict.counts for verdict in wanted) and ROOT_LOG not in refused:
        logs.add(ROOT_LOG)  # it says what is pinned
    run.repair(logs)
    return run.check()


def _fingerprint(instance: str, database: str, options: Options) -> str:
    """Tell one run's state from that of a run over something else."""
    trusted = options.trusted
    keys = [trusted.verifier(log).vkey() for log in trusted.logs()] if trusted else []
    saved = sorted(each.note for each in options.saved)
    told = [instance, database, keys, (options.policy or b"").hex(), saved]
    return hashlib.sha256(msgspec.json.encode(told)).hexdigest()


def _complain(message: str) -> NoReturn:
    raise _NotRunError(message)
