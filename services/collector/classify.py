"""Stage `classify`: the step of the supply chain, by the declared, versioned table in steps.json.

The rules are tried in order; a rule holds where each field it names has one of its values ("" stands for no value). A change
of the table is a new version: events keep the step, and the version, they were sealed with.
"""

from functools import lru_cache
from importlib import resources
from typing import Final, Literal

import msgspec

from services.collector.flow import Accepted, Item, Outcome

Step = Literal["procurement", "production", "logistics", "storage", "sale", "return", "disposal", "other"]


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One row of the table; an empty list of values says nothing about its field."""

    step: Step
    business_step: tuple[str, ...] = ()
    disposition: tuple[str, ...] = ()
    type: tuple[str, ...] = ()

    def holds(self, event_type: str, business_step: str, disposition: str) -> bool:
        """Say whether the rule is about such an event."""
        return (
            (not self.business_step or business_step in self.business_step)
            and (not self.disposition or disposition in self.disposition)
            and (not self.type or event_type in self.type)
        )


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole table."""

    version: str
    rules: tuple[Rule, ...]
    otherwise: Step


TABLE: Final = msgspec.json.decode(
    resources.files("services.collector").joinpath("steps.json").read_bytes(), type=Table
)


@lru_cache(maxsize=4096)
def step_of(event_type: str, business_step: str, disposition: str) -> Step:
    """Look a step up in the table."""
    for rule in TABLE.rules:
        if rule.holds(event_type, business_step, disposition):
            return rule.step
    return TABLE.otherwise


def classify(item: Item) -> Outcome:
    """Name the event's step of the supply chain; every event has one."""
    facts = item.facts
    step = step_of(facts.type, facts.business_step, facts.disposition)
    return Accepted(item.with_facts(step=step, step_table=TABLE.version))
