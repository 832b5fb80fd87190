"""What a copy says of itself: `manifest.json`, written last. Pure."""

from typing import Final

import msgspec

from goodstrace.block import KafkaRange

FORMAT: Final = "goodstrace-backup-1"
MANIFEST: Final = "manifest.json"
SUMS: Final = ".sums"


class FileEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of the copy: BSON documents {"in": collection, "document"}, one after the other.

    path: below the copy's folder. digest: SHA-256, hex, over the file's sums: the SHA-256 of each 64 KiB of it, joined, which lie beside it.
    """

    path: str
    documents: int
    size_bytes: int
    digest: str


class LogCopy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A log up to a checkpoint: `note` is the signed checkpoint of `size` entries with its cosignatures, `height` of the block that ends there.

    kafka: what that block says of the topic which it was sealed from.
    """

    log: str
    size: int
    height: int
    root: str
    note: str
    kafka: KafkaRange
    file: FileEntry


class GroupOffsets(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a consumer group had come to when the copy was begun: [topic, partition, offset]."""

    group: str
    offsets: list[tuple[str, int, int]]


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole copy.

    kind: "store", or "vault", which is copied apart. instance: the installation's ID. made_ms: when it was begun, Unix ms.
    logs: of a store. collections: everything else. groups: who must read again from there; of a vault who keeps looks in it.
    """

    format: str
    kind: str
    instance: str
    made_ms: int
    logs: list[LogCopy] = []
    collections: list[FileEntry] = []
    groups: list[GroupOffsets] = []

    def files(self) -> list[FileEntry]:
        """List all files."""
        return [*(each.file for each in self.logs), *self.collections]
