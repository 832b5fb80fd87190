"""The paths of the pages, in the order in which they are tried: those of GS1 Digital Links come last."""

from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from fastapi import FastAPI

from services.query.web.pages import Handler, WebPages
from services.query.web.paths import GS1

READ_ONLY: Final = ["GET", "HEAD"]


class MorePages(Protocol):
    """Pages beside those of `WebPages`, such as those of one role."""

    def routes(self) -> Iterable[tuple[str, str, Handler]]:
        """List them: the method, the path's template, and what answers."""
        ...


def add_routes(app: FastAPI, pages: WebPages, more: Sequence[MorePages] = ()) -> None:
    """Give an application the pages. Whatever has a path of its own must have been added before."""
    for each in more:
        for method, path, work in each.routes():
            methods = READ_ONLY if method == "GET" else [method]
            app.add_route(path, pages.handler(work, path), methods=methods)
    for path, work in (
        ("/", pages.home),
        ("/search", pages.search),
        ("/scan", pages.scan),
        ("/seals", pages.seals),
        ("/trace", pages.goods),
        ("/bundle", pages.bundle),
        ("/face", pages.face),
        ("/label.svg", pages.label),
        ("/.well-known/gs1resolver", pages.resolver),
        ("/web/static/{name}", pages.file),
        (f"/{{ai:{GS1}}}/{{rest:path}}", pages.goods),
    ):
        app.add_route(path, pages.handler(work, path), methods=READ_ONLY)
