"""Records of an earlier topic taken through the stages to what `goods.stored` would hold of them. Pure."""

from collections.abc import Callable, Sequence
from typing import Final

from goodstrace.errors import EntryError
from services.collector.books import PROGRAMS, Books
from services.collector.flow import StageName
from services.collector.stages import INPUTS, Span, StageFault, State
from services.collector.summarise import Window
from services.runtime import topics
from services.runtime.errors import EnvelopeError
from services.sealing.core import Fetched

STARTS: Final = {"stored": topics.GOODS_STORED} | {
    topic.removeprefix("goods."): topic for topic in INPUTS.values()
}
"""What `--from` may name: the topics of goods, from `stored` back to `collected`."""
_FIRST_STAGE: Final = {topic: stage for stage, topic in INPUTS.items()}


Failed = Callable[[int, int, StageFault], None]
"""Is told of a record over which a stage failed: its partition and offset on the topic that is read, and what failed."""


def untold(_partition: int, _offset: int, _fault: StageFault) -> None:
    """Tell nobody."""


class Through:
    """The stages from a topic on. Partitions are independent; each must be given from its first record on."""

    def __init__(
        self, topic: str, window: int, secret: bytes, books: Books = PROGRAMS, failed: Failed = untold
    ) -> None:
        """Take `topic` as the input, which must not be `goods.stored`.

        Args:
            topic: its name without prefix.
            window: records per partition in which duplicates are found, as the collector had it.
            secret: the index secret.
            books: what records are classified by; those that they name must be among them.
            failed: told of each record over which a stage fails, which is refused.
        """
        self._span = Span(_FIRST_STAGE[topic], StageName.STORE)
        self._window = window
        self._secret = secret
        self._books = books
        self._failed = failed
        self._states: dict[int, State] = {}

    @property
    def from_the_first(self) -> bool:
        """Whether what comes out depends on all records before, since duplicates are looked for among them."""
        return self._span.first is StageName.SUMMARISE

    def __call__(self, partition: int, records: Sequence[Fetched]) -> list[Fetched]:
        """Give the values that `store` makes of records, each at the offset of the record it came from.

        Refused records leave holes, as they do in what is sealed. Raises: EnvelopeError; FaultyReleaseError, see `Span.run`.
        """
        state = self._states.setdefault(
            partition, State(Window(self._window), self._secret, books=self._books)
        )
        made = []
        for each in records:
            try:
                output = self._span.run(state, [each.value])
            except EntryError as error:
                raise EnvelopeError(f"partition {partition}, offset {each.offset}: {error}") from error
            for fault in output.faults:
                self._failed(partition, each.offset, fault)
            made += [Fetched(each.offset, value) for value in output.passed[StageName.STORE]]
        return made
