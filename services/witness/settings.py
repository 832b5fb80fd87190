"""What a witness is told on its command line."""

from dataclasses import dataclass
from pathlib import Path

from goodstrace.note import Verifier


@dataclass(frozen=True, slots=True)
class WitnessSettings:
    """How one witness process works.

    Attributes:
        folder: holds its key, its memory and evidence.
        name: of the witness; needed where the folder is new.
        keys: of the logs to follow, as the operator names them.
        lists: URLs of lists of logs that are trusted on first use.
        host, port: where it serves; port 0 for any.
        prefix: of the paths it serves.
        metrics_port: of /metrics, /healthz, /readyz.
        lists_every_s: how often the lists are read.
        index: URL of the query service whose log `index` is verified before it is cosigned; empty where none is.
        index_token_file: holds the token that it asks for.
    """

    folder: Path
    name: str | None
    keys: tuple[Verifier, ...]
    lists: tuple[str, ...]
    host: str
    port: int
    prefix: str
    metrics_port: int
    lists_every_s: float
    index: str = ""
    index_token_file: Path | None = None
