"""Who may do what in Kafka: for each user the topics, groups and transactional IDs that its process has to do with, and nothing else.

Names are those of services/runtime/topics.py and of the places that name groups and transactional IDs; with a prefix of topics they all have it before
them. Kafka takes Describe from Read and Write; an idempotent producer needs no more than Write on a topic (KIP-679).
"""

from dataclasses import dataclass
from typing import Final

from services.runtime import topics as t

DESCRIBE: Final = "Describe"
CONFIGS: Final = "DescribeConfigs"
READ: Final = "Read"
WRITE: Final = "Write"
LITERAL: Final = "literal"
PREFIX: Final = "prefix"


@dataclass(frozen=True)
class Rule:
    """What is allowed on one resource. resource: topic, group or transactionalId; pattern: literal, or a prefix of the name."""

    resource: str
    name: str
    operations: tuple[str, ...]
    pattern: str = LITERAL


@dataclass(frozen=True)
class Rights:
    """What one user may: names without the installation's prefix. transactions are prefixes of transactional IDs, since instances are in them."""

    user: str
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    describes: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    watched_groups: tuple[str, ...] = ()
    """Groups whose offsets it is told, and no more."""
    transactions: tuple[str, ...] = ()
    configs: tuple[str, ...] = ()
    """Topics whose settings it is told."""
    plain_groups: tuple[str, ...] = ()
    """Names that the clients give without the prefix: they join none and commit nothing."""

    def rules(self, prefix: str = "") -> tuple[Rule, ...]:
        """List the rules, by resource and name."""
        topics: dict[str, set[str]] = {}
        for operation, names in (
            (READ, self.reads),
            (WRITE, self.writes),
            (DESCRIBE, self.describes),
            (CONFIGS, self.configs),
        ):
            for name in names:
                topics.setdefault(name, set()).add(operation)
        return (
            *(
                Rule("topic", prefix + name, tuple(sorted({*operations, DESCRIBE})))
                for name, operations in sorted(topics.items())
            ),
            *(Rule("group", prefix + name, (DESCRIBE, READ)) for name in self.groups),
            *(Rule("group", prefix + name, (DESCRIBE,)) for name in self.watched_groups),
            *(Rule("group", name, (DESCRIBE, READ)) for name in self.plain_groups),
            *(
                Rule("transactionalId", prefix + name, (DESCRIBE, WRITE), PREFIX)
                for name in self.transactions
            ),
        )


_LOOKS: Final = (t.GOODS_BROWSED, t.BROWSE_WATCHED)
ALL_TOPICS: Final = tuple(topic.name for topic in t.declared("", 1, 1, 1))
STAGES: Final = ("summarise", "record", "classify", "store")

_PROCESSES: Final = (
    Rights("provision", describes=ALL_TOPICS),
    Rights(
        "collector",
        reads=(t.GOODS_INGRESS, t.GOODS_REJECTED),
        writes=(t.GOODS_COLLECTED, t.GOODS_REJECTED, *_LOOKS),
        groups=("collector.ingress",),
        plain_groups=("rejected", "read-back"),
        transactions=("collector.capture.", "collector.ingress."),
    ),
    Rights(
        "stages",
        reads=(t.GOODS_COLLECTED, t.GOODS_SUMMARISED, t.GOODS_RECORDED, t.GOODS_CLASSIFIED, t.GOODS_STORED),
        writes=(
            t.GOODS_SUMMARISED,
            t.GOODS_RECORDED,
            t.GOODS_CLASSIFIED,
            t.GOODS_STORED,
            t.GOODS_REJECTED,
        ),
        groups=tuple(f"collector.{stage}" for stage in STAGES),
        plain_groups=("read-back",),
        transactions=("collector.stages.",),
    ),
    Rights(
        "keeper",
        reads=(t.GOODS_STORED, t.GOODS_REJECTED),
        describes=(t.GOODS_COLLECTED,),
        groups=("collector.projector", "collector.states"),
    ),
    Rights(
        "ledger",
        reads=(t.GOODS_STORED, t.LOGS_CHECKPOINTS, t.LOGS_INDEX),
        writes=(t.LOGS_CHECKPOINTS, t.LOGS_INDEX),
        groups=tuple(f"{name}.ledger" for name in (t.GOODS_STORED, t.LOGS_CHECKPOINTS, t.LOGS_INDEX)),
        plain_groups=("read-back",),
        transactions=tuple(f"{name}.rounds" for name in (t.LOGS_CHECKPOINTS, t.LOGS_INDEX)),
    ),
    Rights("query", writes=_LOOKS),
    Rights(
        "audit",
        reads=_LOOKS,
        writes=_LOOKS,
        groups=(f"{t.GOODS_BROWSED}.audit", f"{t.BROWSE_WATCHED}.index"),
    ),
    Rights(
        "watch",
        reads=(t.BROWSE_WATCHED, t.BROWSE_OBSERVED, t.BROWSE_COUNTED),
        writes=(t.BROWSE_OBSERVED, t.BROWSE_COUNTED, t.BROWSE_ALERTS),
        groups=("browse.watch",),
    ),
    Rights(
        "scaler",
        describes=(t.GOODS_COLLECTED, t.GOODS_STORED, t.GOODS_REJECTED, t.BROWSE_WATCHED),
        watched_groups=("collector.summarise", "collector.projector", "collector.states", "browse.watch"),
    ),
)
_READ: Final = tuple(sorted({name for each in _PROCESSES for name in each.reads}))
RIGHTS: Final = (
    *_PROCESSES,
    Rights(
        "operator",
        # The doctor reads on from where each group and log is: whether anything waits there only reading tells.
        reads=_READ,
        describes=ALL_TOPICS,
        configs=ALL_TOPICS,
        watched_groups=tuple(sorted({name for each in _PROCESSES for name in each.groups})),
        plain_groups=("goodstrace.doctor", "goodstrace-fsck"),
    ),
)
"""By user. What operators' commands need that change something (`goodstrace grow`, `replay`, `restore`) is an administrator's."""


def rights_of(user: str) -> Rights:
    """Give a user's rights. Raises: KeyError."""
    return {each.user: each for each in RIGHTS}[user]
