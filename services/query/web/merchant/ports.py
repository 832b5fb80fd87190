"""What the pages of merchants need of the rest of the query service, and of its neighbours."""

from collections.abc import Mapping
from typing import Any, Protocol

from fastapi import Request, Response

from services.query.web.visiting import Visit


class Page(Protocol):
    """Answers with a template; `WebPages.page` is the real one."""

    async def __call__(
        self,
        request: Request,
        visit: Visit,
        template: str,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        **values: Any,
    ) -> Response:
        """Answer."""
        ...
