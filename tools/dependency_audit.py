"""Known vulnerabilities of the packages in the lock files: `python -m tools.dependency_audit PROGRAM`, run by `make audit`.

PROGRAM is pip-audit, which asks the package index's advisories and runs in an environment of its own. Exits with 0 where every package was
asked about and none has a known vulnerability, with 1 where one has, with 2 where some could not be asked about: that is no clean result.
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
LOCKS: Final = ("requirements.lock", "requirements-dev.lock", "deploy/*/requirements.lock")
CLEAN, VULNERABLE, NOT_ASKED = 0, 1, 2


def lock_files(root: Path) -> list[Path]:
    """List the lock files of the repository."""
    return sorted(path for pattern in LOCKS for path in root.glob(pattern))


def report(found: Iterable[tuple[str, Any]]) -> tuple[list[str], int]:
    """Say in lines what was found, and with what the command ends.

    Args:
        found: for each lock file its name and pip-audit's report, None where there was none.
    """
    lines: list[str] = []
    status = CLEAN
    for name, told in found:
        if told is None:
            lines.append(f"{name}: could not be audited")
            status = status or NOT_ASKED
            continue
        packages = told["dependencies"]
        skipped = [each for each in packages if "skip_reason" in each]
        vulnerable = [each for each in packages if each.get("vulns")]
        for each in vulnerable:
            for fault in each["vulns"]:
                mended = ", ".join(fault.get("fix_versions") or ()) or "not mended yet"
                lines.append(f"{name}: {each['name']} {each['version']}: {fault['id']}, mended in {mended}")
        lines.append(
            f"{name}: {len(packages)} packages, {len(vulnerable)} vulnerable, {len(skipped)} could not be asked about"
        )
        if vulnerable:
            status = VULNERABLE
        elif skipped:
            status = status or NOT_ASKED
    return lines, status


def _ask(program: str, lock: Path) -> Any:
    command = [
        *(program, "--requirement", str(lock), "--no-deps", "--disable-pip"),
        *("--format", "json", "--progress-spinner", "off"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return json.loads(done.stdout)
    except ValueError:
        sys.stderr.write(done.stderr[-2000:])
        return None


def main(arguments: Sequence[str]) -> int:
    """Run; returns the exit code."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m tools.dependency_audit PROGRAM\n")
        return NOT_ASKED
    locks = lock_files(ROOT)
    lines, status = report((str(lock.relative_to(ROOT)), _ask(arguments[0], lock)) for lock in locks)
    sys.stdout.write("\n".join(lines) + "\n")
    if status == NOT_ASKED:
        sys.stderr.write(
            "the advisories cannot be reached from here: run it where the package index can be asked\n"
        )
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
