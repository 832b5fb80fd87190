"""What is told of the logs to whoever reads them with other programs: the list of logs, and each log's keys."""

from typing import Any

from services.sealing.values import LogInfo


def listed(info: LogInfo, url: str) -> dict[str, str]:
    """Give a log's line of the list `/logs`; `url` is what its resources are below."""
    return {"name": info.name, "origin": info.origin, "vkey": info.vkey, "url": url}


def key_history(info: LogInfo) -> list[dict[str, Any]]:
    """List a log's keys, oldest first, each but the first with the statement by which the one before named it."""
    first = info.changes[0].old if info.changes else info.vkey
    return [
        {"vkey": first, "from_height": 0},
        *({"vkey": each.new, "from_height": each.height, "change": each} for each in info.changes),
    ]
