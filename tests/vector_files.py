"""The published examples of the formats that are sealed, in tests/vectors."""

import json
from pathlib import Path
from typing import Any

VECTORS_DIR = Path(__file__).parent / "vectors"


def vectors(name: str) -> Any:
    """What a file of examples says, such as `notes`."""
    return json.loads((VECTORS_DIR / f"{name}.json").read_text(encoding="utf-8"))
