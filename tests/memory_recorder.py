"""A recorder of looks in memory."""

from services.runtime.errors import UnavailableError
from services.sealing.browse import Browse


class MemoryRecorder:
    """Keeps what it was given; it can be away."""

    def __init__(self) -> None:
        self.browses: list[Browse] = []
        self.away = False

    async def record(self, browse: Browse) -> str:
        if self.away:
            raise UnavailableError("Kafka is away")
        self.browses.append(browse)
        return "ab" * 16
