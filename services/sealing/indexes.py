"""The indexes of the collections that hold logs; why these, is in docs/decisions/0003-block-layout.md.

Tags have an index of their own instead (services.sealing.tag_index), whose pages and runs are found by `_id`.
"""

from typing import Final

from pymongo import ASCENDING, IndexModel

INSTANCE: Final = "instance"
REBUILD: Final = "rebuild"  # the document of INSTANCE by which a store made anew from Kafka is known
RESTORED: Final = "restored"  # that of one put back from a copy: {"times": for each, [{"log", "size"}]}, up to where its blocks are those of before
LOGS: Final = "logs"
BLOCKS: Final = "blocks"
PACKS: Final = "packs"
PAGES: Final = "pages"
RUNS: Final = "runs"
TILES: Final = "tiles"
CHECKPOINTS: Final = "checkpoints"
HEADS: Final = "heads"
PINS: Final = "pins"
INDEX_RUNS: Final = "index_runs"
INDEX_PAGES: Final = "index_pages"
OF_LOGS: Final = frozenset(
    (LOGS, BLOCKS, PACKS, CHECKPOINTS, PAGES, RUNS, TILES, HEADS, PINS, INDEX_RUNS, INDEX_PAGES)
)
"""All collections of logs: those that hold what is sealed, and those that are made again from it."""


def indexes() -> dict[str, list[IndexModel]]:
    """List the indexes by collection. What is unique is so by `_id`: log and height, log and tile, log and size."""
    return {
        BLOCKS: [IndexModel([("log", ASCENDING), ("height", ASCENDING)], name="log_height", unique=True)],
        PACKS: [IndexModel([("log", ASCENDING), ("first", ASCENDING)], name="log_first")],
        TILES: [IndexModel([("log", ASCENDING)], name="log")],
        CHECKPOINTS: [IndexModel([("log", ASCENDING), ("size", ASCENDING)], name="log_size", unique=True)],
        PINS: [IndexModel([("log", ASCENDING), ("size", ASCENDING)], name="log_size")],
    }
