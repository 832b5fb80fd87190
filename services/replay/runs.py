"""What the commands do: settings read, clients made, work done with its progress shown, clients closed."""

import asyncio
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from goodstrace.log_keys import INDEX_LOG
from services.collector.flow import StageName
from services.collector.settings import CollectorSettings
from services.collector.stages import Span, StageFault
from services.replay import rebuilding, rerunning
from services.replay.comparing import Mark
from services.replay.published import newest
from services.replay.reading import TopicReader
from services.replay.rebuilding import KeysAtHand, Rebuilt, TopicSealer
from services.replay.rerunning import FIRST_STAGE, Rerun
from services.replay.sources import Origin, origins, prefix_of, version_of
from services.replay.through import STARTS
from services.replay.verifying import Replayed, gone, verify_log
from services.runtime import logs, topics
from services.runtime.errors import ServiceError, UnavailableError
from services.runtime.mongo import Mongo
from services.runtime.progress import Progress
from services.runtime.settings import KafkaSettings, LogSettings, MongoSettings, load, load_secret
from services.runtime.state_file import StateFile
from services.sealing.fsck.faults import Verdict
from services.sealing.fsck.index_log_check import check_index
from services.sealing.fsck.saved import Saved
from services.sealing.key_sources import configured_keys, key_folder
from services.sealing.mongo import MongoBlockStore
from services.sealing.secret_check import check_secret
from services.sealing.settings import SealSettings
from services.sealing.values import partition_of
from services.sealing.witness_settings import later, publishing

SAVE_EVERY: Final = 20_000  # entries between two states on disk


def state_path(start: str) -> Path:
    """Tell where the state of a comparison lies unless another place is named. Raises: SettingsError."""
    return _run_dir() / "replay" / f"{load(MongoSettings).database}-{start}.json"


async def verify_all(start: str, names: tuple[str, ...], path: Path) -> list[Replayed]:
    """Compare the named logs, or all, with the topics they come from, and with what they are known to have been.

    What an earlier run knows (in the state file) of a log that has lost it stays in the file, so that each run says so.
    Raises: ServiceError, also where the file is of another store or Kafka: nobody is to take one for the other unawares.
    """
    kafka, mongo = load(KafkaSettings), load(MongoSettings)
    client = Mongo(mongo)
    scan = MongoBlockStore(client.database)
    try:
        state = _state(
            path, f"{await scan.instance_id()} {kafka.bootstrap_servers} {kafka.topic(STARTS[start])}"
        )
        published = await newest(kafka.bootstrap_servers, kafka.topic(topics.LOGS_CHECKPOINTS))
        logs_there = [info.name for info in await scan.logs()]  # after what was published of them
        known = sorted({*logs_there, *state.logs(), *filter(_is_never_dropped, published)})
        found = list[Replayed]()
        for origin in _origins(kafka, start, _versions(known)):
            for log in known:
                if prefix_of(log) != origin.prefix or (names and log not in names):
                    continue
                saved = published.get(log, [])
                if log in logs_there:
                    found.append(await _verify_one(scan, kafka, origin, log, state, published=saved))
                elif lost := gone(state.get(log) or Mark(log), origin.topic, saved):
                    found.append(lost)
                else:
                    state.forget(log)  # nothing was ever compared of it
        absent = set(names) - {each.log for each in found}
        if absent:
            raise ServiceError(f"the store has no log {', '.join(sorted(absent))} with a topic of its own")
        _settle(state, found)
        return found
    finally:
        client.close()


def _state(path: Path, of: str) -> StateFile[Mark]:
    state = StateFile(path, of, Mark)
    if state.of_other_work:
        raise ServiceError(
            f"{path} is the state of a comparison of another store, or with another Kafka, than those that are set now. Where neither was changed on"
            " purpose, what it knows is gone: keep it, and see docs/replay.md. To begin anew on purpose, remove it or name another with --state"
        )
    return state


def _is_never_dropped(log: str) -> bool:
    """Tell whether a log must be there once it was; those of stages run again are their operator's to drop."""
    return version_of(log) is None


def _settle(state: StateFile[Mark], found: Iterable[Replayed]) -> None:
    """Forget how far the logs were compared, since they were to their end, but not what they are still held to."""
    for each in found:
        mark = state.get(each.log)
        state.forget(each.log)
        if mark is not None and (each.lost or mark.earlier is not None) and mark.anew().earlier is not None:
            state.keep(each.log, mark.anew())
    if state.logs():
        state.write()
    else:
        state.remove()


async def _verify_one(
    scan: MongoBlockStore,
    kafka: KafkaSettings,
    origin: Origin,
    log: str,
    state: StateFile[Mark],
    *,
    published: Sequence[Saved],
) -> Replayed:
    reader = await asyncio.to_thread(TopicReader, kafka.bootstrap_servers, origin.topic)
    head = await scan.head(log)
    progress = Progress(f"{log} from {origin.topic}", head.checkpoint.size if head else 0)
    mark = state.get(log) or Mark(log)
    saved = 0

    def told(entries: int, reached: Mark) -> None:
        nonlocal saved
        if entries:
            progress.add(entries)
        else:  # where it begins
            progress.skip(reached.size)
            saved = reached.size
        state.keep(log, reached)
        if reached.size - saved >= SAVE_EVERY:
            saved = reached.size
            state.write()

    try:
        if partition_of(log) not in reader.extents:
            raise UnavailableError(f"topic {origin.topic} has no partition {partition_of(log)}")
        found = await verify_log(scan, reader, mark, origin.change, told, published=published)
    finally:
        state.write()
        reader.close()
        progress.end()
    return found


async def rebuild_all(into: str, start: str, instance: str | None, new_keys: Path | None) -> list[Rebuilt]:
    """Seal all topics into another database and compare the roots. Raises: ServiceError."""
    kafka, mongo, settings = load(KafkaSettings), load(MongoSettings), load(LogSettings)
    if into == mongo.database:
        raise ServiceError(f"{into} is the database in use: name another one")
    log = logs.configure("replay", "warning")
    target, present = Mongo(mongo.model_copy(update={"database": into})), Mongo(mongo)
    try:
        folder = new_keys or settings.key_dir
        published = MongoBlockStore(present.database)
        await rebuilding.prepare(target.database, instance or await _instance(folder, published))
        if settings.index_secret_file.exists():
            await check_secret(target.database, load_secret(settings.index_secret_file), register=True)
        sealer = TopicSealer(
            target.database,
            key_folder(new_keys) if new_keys else KeysAtHand(configured_keys()),
            name=settings.log_name,
            limits=load(SealSettings).limits(),
            goods_information=True,
            publishing=later(),
            log=log,
        )
        origins_known = [info.origin for info in await published.logs()]
        origins_known += await asyncio.to_thread(_key_names, folder)
        wanted = _origins(kafka, start, _versions("/".join(each.split("/")[-2:]) for each in origins_known))
        for origin in reversed(wanted):  # the root log first: what it pins is on the others' topics then
            await _seal(sealer, kafka, origin)
        await check_index(
            target.database, [Verdict(log=INDEX_LOG)], repair=True
        )  # makes the runs of the last leaf
        rebuilt = MongoBlockStore(target.database)
        names = {info.name for info in (*await rebuilt.logs(), *await published.logs())}
        return [
            await rebuilding.compare_roots(rebuilt, published, name)
            for name in sorted(names)
            if prefix_of(name) in {origin.prefix for origin in wanted}
        ]
    finally:
        target.close()
        present.close()


async def _seal(sealer: TopicSealer, kafka: KafkaSettings, origin: Origin) -> None:
    reader = await asyncio.to_thread(TopicReader, kafka.bootstrap_servers, origin.topic)
    progress = Progress(f"{origin.topic} into {origin.prefix}", 0)
    await sealer.run(origin, reader, progress.add)
    progress.end()


async def stage_again(
    start: str, since_ms: int | None, version: str, wait_s: float, *, seal: bool
) -> dict[str, Any]:
    """Run the stages again into versioned topics, and seal those. Raises: ServiceError."""
    kafka, settings = load(KafkaSettings), load(LogSettings)
    log = logs.configure("replay", "warning")
    secret = load_secret(settings.index_secret_file)
    own = rerunning.versioned(kafka, version, start)
    span = Span(FIRST_STAGE[start], StageName.STORE)
    reader = await asyncio.to_thread(TopicReader, kafka.bootstrap_servers, own.topic(STARTS[start]))
    client = Mongo(load(MongoSettings))
    try:
        await asyncio.to_thread(rerunning.make_topics, own, span, len(reader.extents))
        await asyncio.to_thread(rerunning.begin, own, span.first, reader, since_ms)
        targets = await asyncio.to_thread(rerunning.targets, reader)
        rerun = Rerun(
            own,
            span,
            collector=load(CollectorSettings).model_copy(update={"instance": "replay"}),
            secret=secret,
            check=lambda: check_secret(client.database, secret),
            log=log,
        )
        progress = Progress(f"{reader.topic} through {span.first} to {span.last}", sum(targets.values()))
        await rerun.run(reader.topic, targets, progress.add)
        progress.end()
        topic = own.topic(topics.GOODS_STORED)
        if not seal:
            written = await asyncio.to_thread(_records, kafka.bootstrap_servers, topic)
            return {"topic": topic, "records": written, "logs": {}, "unpublished": []}
        return {"topic": topic, **await _staged(client, kafka, topic, f"goods.{version}", wait_s)}
    finally:
        reader.close()
        client.close()


async def _staged(
    client: Mongo, kafka: KafkaSettings, topic: str, prefix: str, wait_s: float
) -> dict[str, Any]:
    """Count and seal what the stages wrote."""
    written = await asyncio.to_thread(_records, kafka.bootstrap_servers, topic)
    names = [f"{prefix}/{partition}" for partition in written]
    store, log = MongoBlockStore(client.database), logs.configure("replay", "warning")
    public = publishing("replay", store, log)
    sealer = TopicSealer(
        client.database,
        configured_keys(),
        name=load(LogSettings).log_name,
        limits=load(SealSettings).limits(),
        goods_information=False,
        publishing=public,
        log=log,
    )
    try:
        await _seal(sealer, kafka, Origin(prefix, topic))
        waiting = await rerunning.published(public, store, names, wait_s)
    finally:
        await public.close()
    heads = await store.heads(names)
    sizes = {name: head.checkpoint.size for name, head in sorted(heads.items())}
    return {"records": written, "logs": sizes, "unpublished": waiting}


def _records(bootstrap: str, topic: str) -> dict[int, int]:
    """Count the records of each partition."""
    reader = TopicReader(bootstrap, topic)
    try:
        counts = dict.fromkeys(reader.extents, 0)
        reader.start({partition: extent.low for partition, extent in reader.extents.items()})
        while not reader.finished:
            for partition, records in reader.read(2000, 0.5):
                counts[partition] += len(records)
        return counts
    finally:
        reader.close()


async def _instance(folder: Path, published: MongoBlockStore) -> str:
    """Find the installation's ID: in a public key's name, `<name>/<instance>/<log>`, else in the present store."""
    origins_known = await asyncio.to_thread(_key_names, folder)
    origins_known += [info.origin for info in await published.logs()]
    for origin in origins_known:
        found = re.fullmatch(r".*/([0-9a-f]{16})/(?:[a-z0-9.]+/[0-9]+|root|index)", origin)
        if found:
            return found[1]
    raise ServiceError(
        f"the installation's ID is in no public key of {folder} and in no log of the present store: give --instance"
    )


def _origins(kafka: KafkaSettings, start: str, versions: Iterable[str]) -> list[Origin]:
    through = start != "stored"
    secret = load_secret(load(LogSettings).index_secret_file) if through else None
    if not through:
        return origins(kafka, start, 1, None, versions)
    collector = load(CollectorSettings)
    log = logs.configure("replay", "warning")

    def failed(partition: int, offset: int, fault: StageFault) -> None:
        log.error(
            "a stage failed over a record: refused",
            stage=fault.stage,
            record=fault.record,
            partition=partition,
            offset=offset,
            exception=fault.told,
        )

    return origins(kafka, start, collector.window, secret, versions, books=collector.books, failed=failed)


def _versions(names: Iterable[str]) -> set[str]:
    """Name the versions of stages run again that logs are of."""
    return {version for version in map(version_of, names) if version}


def _key_names(folder: Path) -> list[str]:
    return [path.read_text(encoding="utf-8").partition("+")[0] for path in sorted(folder.glob("*.vkey"))]


def _run_dir() -> Path:
    return Path(os.environ.get("GOODSTRACE_RUN_DIR", "run"))
