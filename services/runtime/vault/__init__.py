"""The vault: the keys by which what is recorded of people can be read, and which are destroyed when they are to be forgotten."""

from services.runtime.vault.errors import HeldError, VaultError
from services.runtime.vault.keys import Vault, user_subject
from services.runtime.vault.opening import open_people, open_vault
from services.runtime.vault.people import People, Person

__all__ = [
    "HeldError",
    "People",
    "Person",
    "Vault",
    "VaultError",
    "open_people",
    "open_vault",
    "user_subject",
]
