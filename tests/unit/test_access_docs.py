"""docs/access.md says what is enforced."""

from tools.access_table import PAGE, page


def test_the_table_on_the_page_is_the_one_that_is_enforced() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run .venv/bin/python -m tools.access_table"
