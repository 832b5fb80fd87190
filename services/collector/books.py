"""The books that `classify` goes by: tables of steps and sets of rules, those of the program and those of its operator. Pure.

`collect` writes the names of the operator's books of today into the facts; `classify` takes those that the facts name. So a record
is classified the same whenever and wherever it is replayed, or not at all: a book that is missing stops the stage.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final, TypeVar

from services.collector import steps
from services.collector.errors import BookError
from services.collector.pipeline import Pipeline
from services.collector.rules import book
from services.collector.rules.book import RuleSet
from services.collector.rules.judging import Judge
from services.collector.steps import Steps
from services.runtime.errors import EnvelopeError

T = TypeVar("T")
_JUDGES: Final = 64


class Books:
    """Every book at hand, by name. Of the operator's the first is today's, the others are those of before."""

    def __init__(self, tables: Sequence[Steps] = (), rule_sets: Sequence[RuleSet] = ()) -> None:
        """Put an operator's books beside the program's."""
        self._tables = {each.name: each for each in (*map(steps.built_in, steps.BUILT_IN), *tables)}
        self._rule_sets = {each.name: each for each in (*map(book.built_in, book.BUILT_IN), *rule_sets)}
        self.step_table = tables[0].name if tables else ""
        """Name of the operator's table of today, empty for none."""
        self.rule_sets = (rule_sets[0].name,) if rule_sets else ()
        """Name of the operator's rules of today, none or one."""
        self.judge = lru_cache(maxsize=_JUDGES)(self._judge)

    @property
    def rule_ids(self) -> frozenset[str]:
        """The IDs of all rules there are."""
        return frozenset(rule.id for each in self._rule_sets.values() for rule in each.rules)

    def steps(self, name: str, pipeline: Pipeline) -> Steps:
        """Give the table that facts name, else the one of their pipeline version.

        Raises: EnvelopeError, where it is not at hand.
        """
        table = self._tables.get(name or pipeline.steps)
        if table is None:
            raise _missing("table of steps", name, "GOODSTRACE_COLLECTOR_STEP_TABLES")
        return table

    def named_sets(self, names: Sequence[str], pipeline: Pipeline) -> tuple[str, ...]:
        """Name the sets to try on a record: that of its pipeline version, then those that its facts name."""
        own = (pipeline.rules,) if pipeline.rules else ()
        return own + tuple([name for name in names if name not in own]) if names else own

    def _judge(self, names: tuple[str, ...]) -> Judge:
        """Give what tries the sets of these names together. Raises: EnvelopeError, where one is not at hand."""
        sets = []
        for name in names:
            found = self._rule_sets.get(name)
            if found is None:
                raise _missing("set of rules", name, "GOODSTRACE_COLLECTOR_RULES")
            sets.append(found)
        return Judge(sets)


PROGRAMS: Final = Books()
"""The books that come with the program, and no others."""


def read_books(tables: Sequence[tuple[str, bytes]], rule_sets: Sequence[tuple[str, bytes]]) -> Books:
    """Read an operator's files, each by path and content; the first of each is today's. Raises: BookError, naming the file."""
    return Books(
        [_named(path, content, steps.operators) for path, content in tables],
        [_named(path, content, book.operators) for path, content in rule_sets],
    )


def _named(path: str, content: bytes, read: Callable[[bytes], T]) -> T:
    try:
        return read(content)
    except BookError as error:
        raise BookError(f"{path}: {error}") from error


def _missing(what: str, name: str, setting: str) -> EnvelopeError:
    return EnvelopeError(
        f"a record is to be classified by the {what} {name!r}, which is not at hand: add its file to {setting}"
    )
