"""Stage `classify`: the step of the supply chain by a table, and what rules on single events say. Pure.

Both are versioned: by the record's pipeline version, and where an operator has books of their own by the names that `collect` put into
the facts. Nothing is refused here.
"""

from services.collector.books import Books
from services.collector.flow import EVENT_PART, Accepted, Item, Outcome
from services.collector.pipeline import pipeline_of


def classify(books: Books, item: Item) -> Outcome:
    """Name the event's step of the supply chain (every event has one) and try the rules on it.

    Raises: EnvelopeError, where a book that the record names is not at hand: it would be sealed wrongly.
    """
    pipeline = pipeline_of(item.record.pipeline_version)
    facts = item.facts
    steps = books.steps(facts.step_table, pipeline)
    step = steps.step_of(facts.type, facts.action, facts.business_step, facts.disposition)
    names = books.named_sets(facts.rule_sets, pipeline)
    if not names:
        return Accepted(item.with_facts(step=step, step_table=steps.name))
    item = item.decoded()
    assert item.event is not None
    content = item.record.part(EVENT_PART).content
    found = books.judge(names).judge(item.event, facts, step, content, item.record.time_ms)
    judged = item.with_facts(step=step, step_table=steps.name, rule_sets=names, verdicts=found.verdicts)
    return Accepted(judged, found.unanswered)
