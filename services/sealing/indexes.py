"""The indexes of the collections that hold logs; why these, is in docs/decisions/0003-block-layout.md."""

from typing import Final

from pymongo import ASCENDING, IndexModel

INSTANCE: Final = "instance"
LOGS: Final = "logs"
BLOCKS: Final = "blocks"
PACKS: Final = "packs"
TILES: Final = "tiles"
CHECKPOINTS: Final = "checkpoints"
HEADS: Final = "heads"
PINS: Final = "pins"


def indexes() -> dict[str, list[IndexModel]]:
    """List the indexes by collection. What is unique is so by `_id`: log and height, log and tile, log and size."""
    return {
        BLOCKS: [IndexModel([("log", ASCENDING), ("height", ASCENDING)], name="log_height", unique=True)],
        PACKS: [
            IndexModel(
                [("tags", ASCENDING), ("log", ASCENDING), ("first", ASCENDING)], name="tags_log_first"
            ),
            IndexModel([("log", ASCENDING), ("first", ASCENDING)], name="log_first"),
        ],
        TILES: [IndexModel([("log", ASCENDING)], name="log")],
        CHECKPOINTS: [IndexModel([("log", ASCENDING), ("size", ASCENDING)], name="log_size", unique=True)],
        PINS: [IndexModel([("log", ASCENDING), ("size", ASCENDING)], name="log_size")],
    }
