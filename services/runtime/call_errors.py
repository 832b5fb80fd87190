"""What a caller can do wrong; pure, so that the cores may raise it.

CallError(ServiceError)      the caller's fault: its text is for the caller
├── InvalidRequestError      a field, a metadata value or a page token is not as it must be
├── NotAllowedError          this is not for the caller
├── NotFoundError            there is nothing of that name
├── OutOfRangeError          a position that does not exist yet
├── AlreadyExistsError       there is one of that name already
└── ExhaustedError           as many as may be are under way already
"""

from typing import Any, ClassVar

from services.runtime.errors import ServiceError


class CallError(ServiceError):
    """The caller's fault. `field` is the request's field or metadata key concerned, or empty; `problem` is what is wrong.

    `reason` stands in the ErrorInfo where it is more than what the table says of its base; `details` are further messages for the caller.
    """

    category = "request"
    reason: ClassVar[str] = ""
    details: tuple[Any, ...] = ()

    def __init__(self, problem: str, field: str = "") -> None:
        """Say what is wrong, in words for the caller, and where."""
        super().__init__(f"{field}: {problem}" if field else problem)
        self.problem, self.field = problem, field


class InvalidRequestError(CallError):
    """The request is not as it must be, whatever is sealed."""


class NotAllowedError(CallError):
    """What the request asks for is not for this caller."""


class NotFoundError(CallError):
    """What the request names does not exist."""


class OutOfRangeError(CallError):
    """The request names a position beyond what is sealed now."""


class AlreadyExistsError(CallError):
    """What the request would make is there already."""


class ExhaustedError(CallError):
    """As many calls of this kind as may be are under way: the caller may try again later."""
