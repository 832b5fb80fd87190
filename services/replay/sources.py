"""Which topic each log comes from."""

import re
from collections.abc import Iterable
from typing import Final

import msgspec

from services.collector.books import PROGRAMS, Books
from services.replay.source import Change
from services.replay.through import STARTS, Failed, Through, untold
from services.runtime import topics
from services.runtime.settings import KafkaSettings

ROOT_PREFIX: Final = "root"
INDEX_PREFIX: Final = "index"
_VERSIONED: Final = re.compile(r"goods\.(v[0-9]{1,4})")


class Origin(msgspec.Struct, frozen=True):
    """The logs `<prefix>/<partition>` and the topic (full name) that they are replayed from; `change`: through the stages."""

    prefix: str
    topic: str
    change: Change | None = None
    from_the_first: bool = False


def origins(
    kafka: KafkaSettings,
    start: str,
    window: int,
    secret: bytes | None,
    versions: Iterable[str] = (),
    *,
    books: Books = PROGRAMS,
    failed: Failed = untold,
) -> list[Origin]:
    """List where all logs come from, those of goods from the topic that `start` names (see STARTS).

    `versions` are those of stages run again whose logs there are; they come from their own topics in any case.
    `books` are what events are classified by, where they go through the stages; `failed` is told of those over which one fails.
    Raises: ValueError, where the stages are needed and there is no index secret.
    """
    name = STARTS[start]
    if name == topics.GOODS_STORED:
        goods = Origin("goods", kafka.topic(name))
    elif secret is None:
        raise ValueError("the stages need the index secret")
    else:
        through = Through(name, window, secret, books, failed)
        goods = Origin("goods", kafka.topic(name), through, through.from_the_first)
    return [
        goods,
        Origin("browse", kafka.topic(topics.GOODS_BROWSED)),
        *(
            Origin(f"goods.{version}", f"{kafka.topic(topics.GOODS_STORED)}.{version}")
            for version in sorted(versions)
        ),
        Origin(INDEX_PREFIX, kafka.topic(topics.LOGS_INDEX)),
        Origin(ROOT_PREFIX, kafka.topic(topics.LOGS_CHECKPOINTS)),
    ]


def prefix_of(log: str) -> str:
    """Give the prefix of a log's name: "goods" of "goods/3", "root" of "root"."""
    return log.partition("/")[0]


def version_of(log: str) -> str | None:
    """Give the version of the stages that a log is of: "v2" of "goods.v2/0", None where they are the first."""
    found = _VERSIONED.fullmatch(prefix_of(log))
    return found[1] if found else None
