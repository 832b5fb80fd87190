"""Errors of backup and restore.

ServiceError
└── BackupError      the copy, or what it is made of or put into, is not as it must be
    └── DamagedError bytes of a copy are not those that were written: names file and place
"""

from services.runtime.errors import ServiceError


class BackupError(ServiceError):
    """A copy cannot be made, believed or put back; says why."""

    category = "backup"


class OtherFolderError(BackupError):
    """A folder is not the copy that is asked for: none at all, of another kind, or of another format."""


class DamagedError(BackupError):
    """Bytes of a file of a copy are not those that were written."""
