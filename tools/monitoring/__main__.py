"""`python -m tools.monitoring`: write what is made from code: rules and their tests, dashboards, docs/metrics.md.

With `--check` nothing is written, and the status is 1 where a file is not what would be.
"""

import sys
from pathlib import Path

from tools.monitoring import dashboards, metrics_page, prometheus_files

ROOT = Path(__file__).resolve().parents[2]


def made() -> dict[Path, str]:
    """Give all files with their content, by path from the root of the repository."""
    return {**prometheus_files.files(), **dashboards.files(), **metrics_page.files()}


def stale() -> list[Path]:
    """List the files that are not what would be made now."""
    return [
        path
        for path, text in made().items()
        if not (ROOT / path).exists() or (ROOT / path).read_text(encoding="utf-8") != text
    ]


def main() -> None:
    """Write, or check."""
    if "--check" in sys.argv[1:]:
        wrong = stale()
        for path in wrong:
            print(f"{path} is not what `python -m tools.monitoring` makes")
        sys.exit(bool(wrong))
    for path, text in made().items():
        target = ROOT / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
