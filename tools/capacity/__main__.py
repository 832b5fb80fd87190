"""`python -m tools.capacity EVENTS_S [LOOKS_S]`: say what so many events and looks a second want. `--write` makes docs/capacity.md, `--check` compares it."""

import sys
from pathlib import Path
from typing import Final

from tools.capacity.model import plan
from tools.capacity.page import PAGE, page, table

ROOT: Final = Path(__file__).resolve().parents[2]


def main() -> None:
    """Print, write or compare. Exits with 2 where a number is none."""
    arguments = sys.argv[1:]
    if arguments == ["--write"]:
        (ROOT / PAGE).write_text(page(), encoding="utf-8")
        print(f"wrote {PAGE}")
    elif arguments == ["--check"]:
        sys.exit((ROOT / PAGE).read_text(encoding="utf-8") != page())
    else:
        try:
            events, looks = (
                float(arguments[0]),
                float(arguments[1]) if arguments[1:] else float(arguments[0]) / 100,
            )
            print(table([plan(events, looks)]))
        except (IndexError, ValueError) as error:
            print(f"python -m tools.capacity EVENTS_S [LOOKS_S] | --write | --check: {error}")
            sys.exit(2)


if __name__ == "__main__":
    main()
