"""The limits that the requests of all gRPC services share, as the protos state them. Pure."""

from typing import Final

from services.runtime.call_errors import InvalidRequestError

MAX_KEY_CHARS: Final = 2048
MAX_USER_CHARS: Final = 128
MAX_PURPOSE_CHARS: Final = 256
MAX_PAGE_SIZE: Final = 1000


def check_text(text: str, field: str, most: int, *, least: int = 0) -> None:
    """Check the length of a text, in characters. Raises: InvalidRequestError naming the field."""
    if not least <= len(text) <= most:
        raise InvalidRequestError(f"{least} to {most} characters, please, not {len(text)}", field)


def checked_page_size(asked: int, default: int) -> int:
    """Give how many items a page may have; 0 stands for `default`. Raises: InvalidRequestError."""
    if asked > MAX_PAGE_SIZE:
        raise InvalidRequestError(f"at most {MAX_PAGE_SIZE}", "page_size")
    return asked or default
