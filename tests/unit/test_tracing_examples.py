"""docs/tracing-examples.md is what the engine answers today, and has an example for each rule that can be drawn."""

import re

from tools.tracing_cases import EXAMPLES
from tools.tracing_examples import PAGE, page


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run .venv/bin/python -m tools.tracing_examples"


def test_there_is_one_for_each_rule() -> None:
    drawn = {int(number) for each in EXAMPLES for number in re.findall(r"\d+", each.title)}
    assert drawn == set(range(1, 13))
