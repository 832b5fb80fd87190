"""`python -m tools.monitoring`: write what is made from code: rules and their tests, dashboards, docs/metrics.md.

With `--check` nothing is written, and the status is 1 where a file is not what would be.
"""

from pathlib import Path

from tools.made_files import write_or_check
from tools.monitoring import dashboards, metrics_page, prometheus_files


def made() -> dict[Path, str]:
    """Give all files with their content, by path from the root of the repository."""
    return {**prometheus_files.files(), **dashboards.files(), **metrics_page.files()}


if __name__ == "__main__":
    write_or_check("tools.monitoring", made)
