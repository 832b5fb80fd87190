"""Errors of sealing and of reading what was sealed.

ServiceError
└── SealingError
    ├── UnprovableRecordError   a record on the topic whose entry does not commit to it: the sealer stops before it
    ├── LostRaceError           another writer appended to the log first: this process stops
    ├── TopicChangedError       the topic was made anew, or this is another Kafka cluster: the sealer stops
    ├── LogKeyError             the log's key is missing, open to others, not readable, or not the one `logs` names
    ├── RunGoneError            a run of the index was merged so long ago that it is not kept any more
    ├── RolledBackError         a witness has cosigned more of the log than is stored: the sealer stops
    └── CorruptError            what is stored is not what the log says
"""

from services.runtime.errors import ServiceError


class SealingError(ServiceError):
    """Root of the errors of this package. None is worth a retry: each wants an operator."""


class UnprovableRecordError(SealingError):
    """A record's entry does not commit to its parts and tags. It is never skipped: every restart stops here again."""

    category = "unprovable-record"


class LostRaceError(SealingError):
    """Another writer sealed other bytes at this height first."""

    category = "lost-race"


class TopicChangedError(SealingError):
    """The topic is not the one that the log's last block came from."""

    category = "topic-changed"


class LogKeyError(SealingError):
    """A log's key cannot be used."""

    category = "log-key"


class CorruptError(SealingError):
    """Stored data is missing or is not what the log says."""

    category = "corrupt"


class RunGoneError(SealingError):
    """A run of the index is not kept any more: another one has taken its place long ago."""

    category = "run-gone"


class RolledBackError(SealingError):
    """Somebody holds a signed checkpoint that is larger than the log: the store lost its tail, or is not the log's."""

    category = "rolled-back"
