"""Reading a list that is answered in pages (AIP-158)."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from goodstrace.errors import AnswerError

_Page = TypeVar("_Page")


def pages(request: Any, ask: Callable[[Any], _Page]) -> Iterator[_Page]:
    """Ask for page after page, as each one's `next_page_token` says, until one has none.

    Raises: AnswerError where a token comes again, since the list would never end; what `ask` raises.
    """
    token, seen = "", set[str]()
    while True:
        request.page_token = token
        page: Any = ask(request)
        yield page
        token = page.next_page_token
        if not token:
            return
        if token in seen:
            raise AnswerError("the service gives the same page again and again")
        seen.add(token)
