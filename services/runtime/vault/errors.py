"""What can go wrong with the vault.

ServiceError
├── VaultError       what lies in the vault cannot be opened: by none of the key-encryption keys at hand, or it was altered
└── HeldError        the key is under a legal hold: it may not be destroyed now
"""

from services.runtime.errors import ServiceError


class VaultError(ServiceError):
    """A key in the vault is wrapped under a key-encryption key that is not at hand, or was altered."""

    category = "vault"


class HeldError(ServiceError):
    """A legal hold is on the key: it is not destroyed before `until_ms`, Unix milliseconds."""

    category = "held"

    def __init__(self, until_ms: int, reason: str = "") -> None:
        super().__init__(f"a legal hold is on it until {until_ms} ms since 1970")
        self.until_ms, self.reason = until_ms, reason
