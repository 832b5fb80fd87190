"""Up to the root log nothing is shown that is not published: a log is pinned once it has signed."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec
import pytest

from goodstrace import block as blocks
from goodstrace import entry as entries
from goodstrace import root
from goodstrace.entry import Position, TagKind
from goodstrace.query.v1 import trace_pb2
from goodstrace.root_proof import verify_root_proof
from services.query.root_proofs import root_proof
from services.runtime.call_errors import NotFoundError, OutOfRangeError
from services.runtime.envelope import Part
from services.sealing.pins import Pin, SignedHeader
from services.sealing.showing import PartKey
from services.sealing.values import SealedRecord, StoredCheckpoint
from tests.unit.test_client_root import SEEN, World

PINNED = 5


class Logs:
    """The logs of a world as a reader gives them, and what is pinned of them; each published up to a size."""

    def __init__(self, world: World, published: int, root_size: int = 3) -> None:
        self.world = world
        self.logs = {log.name: log for log in (world.goods, world.other, world.root)}
        self.published = {"goods/0": published, "goods/1": 0, "root": root_size}

    async def checkpoint(self, log: str, size: int | None = None) -> StoredCheckpoint | None:
        found = self.published.get(log, 0) if size is None else size
        if not found:
            return None
        return StoredCheckpoint(log, found, bytes(32), self.logs[log].checkpoint(found).note)

    async def find_newest(self, tag: bytes, sizes: Mapping[str, int], _limit: int) -> list[SealedRecord]:
        wanted = entries.tag(root.TAG_KEY, TagKind.CHECKPOINT, root.tag_text("goods/0", PINNED))
        shown = self.world.root.sealed(self.world.index)
        if tag != wanted or shown.index >= sizes["root"]:
            return []
        parts = tuple(Part(each.name, each.salt, each.content) for each in shown.parts)
        return [SealedRecord("root", shown.index, shown.entry, parts, ())]

    async def part_keys(self, _records: Sequence[SealedRecord]) -> Mapping[Position, PartKey]:
        return {}

    async def inclusion_proofs(self, log: str, indexes: Sequence[int], size: int) -> list[list[bytes]]:
        return [list(self.logs[log].sealed(index, size).inclusion_proof) for index in indexes]

    async def consistency_proof(self, log: str, old_size: int, new_size: int) -> list[bytes]:
        return list(self.logs[log].consistency(old_size, new_size))

    async def first_from(self, log: str, size: int, upto: int) -> Pin | None:
        height = root.decode(self.world.root.sealed(self.world.index).parts[0].content).height
        return Pin(PINNED, height) if log == "goods/0" and size <= PINNED <= upto else None

    async def headers(self, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], SignedHeader]:
        answer = self.world.answer()
        return {place: SignedHeader(answer.header, answer.header_signature) for place in places}


async def proved(logs: Logs, log: str = "goods/0", size: int = SEEN) -> trace_pb2.GetRootProofResponse:
    request = trace_pb2.GetRootProofRequest(log=log, size=size)
    return await root_proof(logs, logs, request)  # type: ignore[arg-type]


@pytest.mark.parametrize("published", [PINNED, PINNED + 2])
async def test_a_pinned_checkpoint_that_is_published_is_shown(published: int) -> None:
    world = World()
    proof = verify_root_proof(await proved(Logs(world, published)), world.seen(), world.keys())
    assert (proof.pinned.checkpoint.size, proof.entry.index) == (PINNED, world.index)


@pytest.mark.parametrize("size", [SEEN, 0])
async def test_one_that_waits_for_its_quorum_is_not(size: int) -> None:
    with pytest.raises(OutOfRangeError, match=r"no published checkpoint .* at size 4 yet"):
        await proved(Logs(World(), SEEN), size=size)


async def test_nor_what_the_published_root_log_does_not_hold_yet() -> None:
    with pytest.raises(OutOfRangeError):
        await proved(Logs(World(), PINNED, root_size=1))
    with pytest.raises(OutOfRangeError):
        await proved(Logs(World(), PINNED, root_size=0))


async def test_the_entry_of_a_block_that_another_store_had_waits_for_that_of_this_store() -> None:
    """A store made anew from Kafka has fewer blocks: the same size is reached, by a block of another header."""
    world = World()
    header = blocks.decode(world.header)
    world.header = blocks.encode(msgspec.structs.replace(header, first=PINNED - 1, count=1))
    with pytest.raises(OutOfRangeError, match="at size 4 yet"):
        await proved(Logs(world, PINNED))


async def test_a_size_beyond_what_is_published_is_refused_and_a_log_without_a_checkpoint_not_there() -> None:
    with pytest.raises(OutOfRangeError, match="newest checkpoint is of size 4"):
        await proved(Logs(World(), SEEN), size=PINNED)
    for log in ("goods/1", "goods/2"):
        with pytest.raises(NotFoundError):
            await proved(Logs(World(), SEEN), log=log)
