"""The paths of the pages, in the order in which they are tried: those of GS1 Digital Links come last."""

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from fastapi import FastAPI
from starlette.convertors import Convertor, register_url_convertor

from goodstrace.digital_links import PRIMARY_KEYS, SHORT_NAMES

if TYPE_CHECKING:
    from services.query.web.pages import Handler, WebPages

READ_ONLY: Final = ["GET", "HEAD"]


class _PrimaryKey(Convertor[str]):
    """The first segment of a Digital Link's path: a primary key's application identifier, or its name of earlier versions."""

    regex = "|".join((*PRIMARY_KEYS, *SHORT_NAMES))

    def convert(self, value: str) -> str:
        """Give it as it is."""
        return value

    def to_string(self, value: str) -> str:
        """Give it as it is."""
        return value


register_url_convertor("gs1", _PrimaryKey())


FOLDERS: Final = ("auditor", "merchant", "operator")
"""What lies below these is pages, too."""
_PAGE: Final = re.compile(
    r"/(search|scan|seals|trace|bundle|face|complete|label\.svg|sign-in|sign-out|password|second-factor)?"
    rf"|/({'|'.join(FOLDERS)})(/.*)?|/({_PrimaryKey.regex})/.*",
    re.DOTALL,
)


class MorePages(Protocol):
    """Pages beside those of `WebPages`, such as those of one role."""

    def routes(self) -> "Iterable[tuple[str, str, Handler]]":
        """List them: the method, the path's template, and what answers."""
        ...


def is_page(path: str) -> bool:
    """Say whether a path is a page's, or of what pages ask for about goods: there the cookies of a browser count."""
    return _PAGE.fullmatch(path) is not None


def add_routes(app: FastAPI, pages: "WebPages", more: Sequence[MorePages] = ()) -> None:
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
        ("/{ai:gs1}/{rest:path}", pages.goods),
    ):
        app.add_route(path, pages.handler(work, path), methods=READ_ONLY)
