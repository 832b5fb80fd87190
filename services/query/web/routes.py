"""The paths of the pages, in the order in which they are tried: those of GS1 Digital Links come last."""

from typing import Final

from fastapi import FastAPI
from starlette.convertors import Convertor, register_url_convertor

from goodstrace.identifiers import PRIMARY_KEYS, SHORT_NAMES
from services.query.web.pages import WebPages

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


def add_routes(app: FastAPI, pages: WebPages) -> None:
    """Give an application the pages. Whatever has a path of its own must have been added before."""
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
        app.add_route(path, pages.handler(work), methods=READ_ONLY)
