"""Files of the repository that are made from code: written, or compared with what would be written."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
Made = Callable[[], Mapping[Path, str]]


def stale(made: Made) -> list[Path]:
    """List the files, by path from the root of the repository, that are not what would be made now."""
    return [
        path
        for path, text in made().items()
        if not (ROOT / path).exists() or (ROOT / path).read_text(encoding="utf-8") != text
    ]


def write_or_check(module: str, made: Made) -> None:
    """Do what `python -m` of a module that makes files does: write them, or with `--check` exit with 1 where one is another."""
    if "--check" in sys.argv[1:]:
        wrong = stale(made)
        for path in wrong:
            print(f"{path} is not what `python -m {module}` makes")
        sys.exit(bool(wrong))
    for path, text in made().items():
        target = ROOT / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        print(f"wrote {path}")
