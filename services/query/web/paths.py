"""Which paths are pages: there the cookies of a browser count."""

import re
from typing import Final

from starlette.convertors import Convertor, register_url_convertor

from goodstrace.digital_links import PRIMARY_KEYS, SHORT_NAMES

GS1: Final = "gs1"
"""Of paths' templates: what stands for a primary key, as in `{ai:gs1}`."""


class _PrimaryKey(Convertor[str]):
    """The first segment of a Digital Link's path: a primary key's application identifier, or its name of earlier versions."""

    regex = "|".join((*PRIMARY_KEYS, *SHORT_NAMES))

    def convert(self, value: str) -> str:
        """Give it as it is."""
        return value

    def to_string(self, value: str) -> str:
        """Give it as it is."""
        return value


register_url_convertor(GS1, _PrimaryKey())


FOLDERS: Final = ("auditor", "merchant", "operator")
"""What lies below these is pages, too."""
_PAGE: Final = re.compile(
    r"/(search|scan|seals|trace|bundle|face|complete|label\.svg|sign-in|sign-out|password|second-factor)?"
    rf"|/({'|'.join(FOLDERS)})(/.*)?|/({_PrimaryKey.regex})/.*",
    re.DOTALL,
)


def is_page(path: str) -> bool:
    """Say whether a path is a page's, or of what pages ask for about goods: there the cookies of a browser count."""
    return _PAGE.fullmatch(path) is not None
