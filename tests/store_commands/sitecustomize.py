"""Imported by every Python process that has this folder on its path: writes down which commands it sends to which collections of MongoDB.

Where to is said by STORE_COMMANDS; a line for each of database, collection and command, once.
"""

import os
from pathlib import Path

from pymongo import monitoring


class _Writing(monitoring.CommandListener):
    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: set[str] = set()

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        command, name = event.command, event.command_name
        collection = command.get("collection") if name == "getMore" else command.get(name)
        named = collection if isinstance(collection, str) else ""
        inserts = name == "update" and any(each.get("upsert") for each in command.get("updates", ()))
        for said in (name, *(("insert",) if inserts else ())):
            line = f"{event.database_name} {named} {said}\n" if named else ""
            if line and line not in self._seen:
                self._seen.add(line)
                with self._path.open("a") as file:
                    file.write(line)

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        pass

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass


if "STORE_COMMANDS" in os.environ:
    monitoring.register(_Writing(Path(os.environ["STORE_COMMANDS"])))
