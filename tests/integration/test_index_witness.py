"""`goodstrace witness --index` as a process, against the query service over a real store: it cosigns what is whole, and nothing else."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import cast

import httpx
import pytest
from click.testing import CliRunner

from goodstrace.cli.verify import verify
from goodstrace.completeness import wrong_index
from goodstrace.log_keys import INDEX_LOG, LogKeys
from goodstrace.note import parse_note
from goodstrace.witnessing import AddCheckpoint, parse_cosignatures
from services.sealing.completeness.source import IndexSource
from services.sealing.reader import LogReader
from tests.integration.indexing import covered, index_rounds, indexed, leaves_of
from tests.integration.looking import Looking, eventually
from tests.integration.test_completeness import seal
from tests.integration.test_witness import WitnessProcess


@pytest.fixture
def witness(looking: Looking, tmp_path: Path) -> AsyncIterator[WitnessProcess]:
    url = looking.log_url
    made = WitnessProcess(
        tmp_path / "witness", "--logs-url", f"{url}/logs", "--index", url, "--lists-every", "0.3"
    )
    yield made  # type: ignore[misc]
    made.close()


async def ask(
    looking: Looking, witness: WitnessProcess, old_size: int = 0, size: int | None = None
) -> httpx.Response:
    """Ask for a cosignature of the log `index`, until the witness has come to an end with it."""
    reader = LogReader(looking.mongo.database)
    stored = await reader.checkpoint(INDEX_LOG, size)
    assert stored is not None
    proof = (
        await reader.consistency_proof(INDEX_LOG, old_size, stored.size) if 0 < old_size < stored.size else []
    )
    body = AddCheckpoint(old_size, tuple(proof), stored.note).encode()

    async def answered() -> httpx.Response | None:
        answer = await asyncio.to_thread(witness.http.post, "/add-checkpoint", content=body)
        return None if answer.status_code in (404, 503) else answer

    answer = await eventually(answered, "the witness has verified the leaves")
    assert answer is not None
    return answer


async def test_what_is_whole_is_cosigned_also_after_a_kill(
    looking: Looking, witness: WitnessProcess, tell: Callable[[str], None]
) -> None:
    async with indexed(looking):
        for number in range(6):
            await seal(looking, number * 40, 40)
            await covered(looking)
        await looking.start("query")
        await asyncio.to_thread(witness.start)
        answer = await ask(looking, witness)
        assert answer.status_code == 200, answer.text
        stored = await looking.reader.checkpoint(INDEX_LOG)
        assert stored is not None
        [signature] = parse_cosignatures(answer.content)
        witness.verifier.verify(signature, parse_note(stored.note).text)
        leaves = await leaves_of(looking)
        assert len(leaves[-1].runs) < len(leaves)
        folder = witness.folder / "index"
        assert {path.stem for path in folder.glob("*.rows")} == {f"{r.since}-{r.to}" for r in leaves[-1].runs}
        size_bytes = sum(path.stat().st_size for path in folder.glob("*.rows"))
        assert size_bytes == 24 * sum(run.rows for run in leaves[-1].runs)
        assert witness.metric("index_leaves_verified_total") == stored.size

        for number in range(6, 9):
            await seal(looking, number * 40, 40)
            await covered(looking)
        witness.close()
        again = WitnessProcess(witness.folder, *witness._arguments)
        try:
            await asyncio.to_thread(again.start)
            answer = await ask(looking, again, old_size=stored.size)
            assert answer.status_code == 200, answer.text
            newest = await looking.reader.checkpoint(INDEX_LOG)
            assert newest is not None
            assert again.metric("index_leaves_verified_total") == newest.size - stored.size
        finally:
            again.close()
    tell(
        f"index witness: {newest.size} leaves made again, {size_bytes} B of rows kept for {leaves[-1].root.size} root entries"
    )


class LeavingOut(IndexSource):
    """A wrong builder: it leaves one row out of what it indexes."""

    left_out = 0

    async def rows(
        self, since: Mapping[str, int], to: Mapping[str, int], numbers: Mapping[str, int]
    ) -> AsyncIterator[list[bytes]]:
        async for rows in super().rows(since, to, numbers):
            if rows and not self.left_out and since:
                self.left_out += 1
                yield rows[:3] + rows[4:]
            else:
                yield rows


async def test_an_index_that_leaves_one_out_is_not_cosigned_and_proved_wrong(
    looking: Looking, witness: WitnessProcess, tmp_path: Path
) -> None:
    source = LeavingOut(looking.mongo.database, looking.reader)
    async with indexed(looking, index_rounds(looking, cast(IndexSource, source))):
        await seal(looking, 0, 40)
        await covered(looking)
        right = len(await leaves_of(looking))
        assert source.left_out <= 1
        for number in range(1, 4):
            await seal(looking, number * 40, 40)
            await covered(looking)
    assert source.left_out == 1
    await looking.start("query")
    await asyncio.to_thread(witness.start)
    assert right >= 1
    answer = await ask(looking, witness)
    assert answer.status_code == 422
    assert "rows" in answer.text
    [file] = await eventually(lambda: _proofs(witness), "the proof is written")
    assert witness.metric("index_leaves_wrong_total") == 1
    keys = LogKeys.load(looking.key_dir)
    shown = wrong_index.verify_wrong_index(wrong_index.decode(file.read_bytes()), keys)
    record = (await looking.reader.records(shown.entry.log, [shown.entry.index]))[0]
    assert shown.tag in record.tags
    done = CliRunner().invoke(verify, [str(file), "--vkeys", str(looking.key_dir), "--json"])
    assert done.exit_code == 0, done.output
    [said] = json.loads(done.output)["files"]
    assert said["wrong_index"]["log"] == shown.entry.log
    status = await asyncio.to_thread(witness.http.get, "/")
    assert status.status_code == 404
    assert tmp_path


async def _proofs(witness: WitnessProcess) -> list[Path]:
    return list((witness.folder / "evidence").glob("*.wrong-index"))
