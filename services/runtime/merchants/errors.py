"""Refusals of callers.

RefusedError               what a caller asked is not granted; nothing was kept
├── UnauthenticatedError   who calls cannot be told: 401
├── ForbiddenError         who calls is known and may not do that: 403
│   ├── SuspendedError     the merchant for whom they act is suspended
│   └── RoleError          it is not for any of their roles
├── UnknownError           what is asked for is not there: 404
├── TakenError             it is somebody else's already: 409
└── RateLimitedError       too much at a time: 429, with the seconds to wait
"""

from typing import ClassVar


class RefusedError(Exception):
    """Root. `category` is the metric label, from a closed set; the message is for the caller and holds no secret."""

    category: ClassVar[str] = "refused"


class UnauthenticatedError(RefusedError):
    """Nothing, or nothing good, says who calls. `invalid` where credentials were sent."""

    category = "unauthenticated"

    def __init__(self, detail: str, *, invalid: bool = True) -> None:
        super().__init__(detail)
        self.invalid = invalid


class ForbiddenError(RefusedError):
    """The caller may not do that."""

    category = "forbidden"


class SuspendedError(ForbiddenError):
    """The merchant is suspended; `name` is what records call who acts for it."""

    def __init__(self, name: str = "", merchant: int = 0) -> None:
        super().__init__("the merchant is suspended")
        self.name, self.merchant = name, merchant


class RoleError(ForbiddenError):
    """It is for other roles."""


class UnknownError(RefusedError):
    """There is no such thing, or none that the caller may see."""

    category = "unknown"


class TakenError(RefusedError):
    """What was to be registered is another's."""

    category = "taken"


class RateLimitedError(RefusedError):
    """Over a rate; `retry_after_s` is when there is room again."""

    category = "rate-limited"

    def __init__(self, detail: str, retry_after_s: float) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s
