"""Checking a block's header: its bytes and signature, that it follows the one before, and its Kafka offsets. Pure."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from goodstrace import block as blocks
from goodstrace.block import BlockHeader
from goodstrace.errors import VerificationError
from goodstrace.merkle import HASH_SIZE
from services.sealing.fsck.faults import Verdict
from services.sealing.fsck.keyring import Keyring
from services.sealing.values import StoredBlock, partition_of


class HeaderCheck:
    """Checks the headers of one log into its verdict."""

    def __init__(self, verdict: Verdict, keys: Keyring) -> None:
        """Take the log's verdict and keys."""
        self._verdict = verdict
        self._log = verdict.log
        self._keys = keys

    def check(self, block: StoredBlock, height: int, previous: bytes | None) -> BlockHeader | None:
        """Check a header: bytes, signature, chain, offsets, and what the document repeats of it.

        Args:
            block: the block that stands at `height`.
            height: where it stands.
            previous: the header before it; None where there is none, or it is lost.
        Returns: the header, None where it is malformed.
        """
        try:
            header = blocks.decode(block.header)
        except VerificationError as error:
            self._verdict.found("header", error, block=height)
            return None
        keys = self._keys.at(height)
        if keys and not any(_signed(block, key.public_key) for key in keys):
            problem = "block header is not signed by the log's key in force at this height"
            self._verdict.found("signature", problem, block=height)
        before = _decoded(previous)
        self._chain(header, height, previous, before)
        self._offsets(header, height, before)
        said = (header.log, header.height, header.first, header.size, header.count)
        if said != (block.log, block.height, block.first, block.size, len(block.leaves) // HASH_SIZE):
            self._verdict.found("document", "document and header differ", block=height)
        return header

    def _chain(
        self, header: BlockHeader, height: int, data: bytes | None, previous: BlockHeader | None
    ) -> None:
        if header.log != self._log or header.kafka.partition != partition_of(self._log):
            problem = (
                f"the header is of {header.log}, Kafka partition {header.kafka.partition}, not of {self._log}"
            )
            self._verdict.found("chain", problem, block=height)
        if header.height != height:
            self._verdict.found(
                "chain", f"found height {header.height} in the place of {height}", block=height
            )
        if previous is None and height > 0:
            return  # nothing to follow: told of already
        linked = blocks.header_hash(data) if data else blocks.GENESIS_HASH
        follows = {
            "previous": (header.previous, linked),
            "first": (header.first, previous.size if previous else 0),
        }
        for name, (found, wanted) in follows.items():
            if found != wanted:
                self._verdict.found("chain", f"{name} does not follow the block before", block=height)
        if previous and header.time < previous.time:
            self._verdict.found("chain", "time is before that of the block before", block=height)
        wrong = self._keys.wrong_change(header)
        if wrong:
            self._verdict.found("key", wrong, block=height)

    def _offsets(self, header: BlockHeader, height: int, previous: BlockHeader | None) -> None:
        if previous is None:
            if height == 0 and header.kafka.first != 0:
                problem = f"begins at Kafka offset {header.kafka.first}, not 0"
                self._verdict.found("kafka", problem, block=0)
            return
        before, after = previous.kafka, header.kafka
        if (before.cluster, before.topic, before.topic_id) != (after.cluster, after.topic, after.topic_id):
            problem = f"is of topic {after.topic} ({after.topic_id}), the block before of {before.topic} ({before.topic_id})"
            self._verdict.found("kafka", problem, block=height)
        if after.first != before.next:
            problem = f"begins at Kafka offset {after.first}, the block before ends at {before.next}"
            self._verdict.found("kafka", problem, block=height)


def _decoded(data: bytes | None) -> BlockHeader | None:
    try:
        return blocks.decode(data) if data is not None else None
    except VerificationError:
        return None


def _signed(block: StoredBlock, public_key: bytes) -> bool:
    try:
        blocks.verify_header(block.header, block.signature, Ed25519PublicKey.from_public_bytes(public_key))
    except VerificationError:
        return False
    return True
