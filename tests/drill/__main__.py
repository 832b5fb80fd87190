"""`python -m tests.drill [--only PART]...`: kill each part in turn under load; the right alert must go pending, fire, and clear.

Exit status 1 where an alert did not come or did not clear, or something captured was lost. A whole drill is written to docs/drill.md.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from goodstrace.facts import identity
from goodstrace.simulate import Simulation, SimulationOptions
from tests.drill.alerts import Told, Watcher
from tests.drill.load import Load
from tests.drill.page import HEAD, Row, line, page
from tests.drill.parts import Part, World, world
from tests.drill.pictures import draw_all
from tests.prometheus import MISSING
from tests.system.harness import ROOT, eventually

PAGE = ROOT / "docs" / "drill.md"
QUIET_S, COMING_S, CLEARING_S = 300.0, 180.0, 300.0


def main() -> int:
    """Run the drill; gives the exit status."""
    wanted = _arguments()
    if shutil.which("prometheus") is None:
        say(MISSING)
        return 1
    with tempfile.TemporaryDirectory(prefix="goodstrace-drill-") as folder:
        began = time.monotonic()
        with world(Path(folder), lambda what: say(f"starting {what}")) as made:
            known = [part.name for part in made.parts]
            if unknown := set(wanted) - {name.lower() for name in known}:
                say(f"no part {', '.join(sorted(unknown))}; parts are {', '.join(known)}")
                return 1
            return _drill(made, wanted, began)


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _arguments() -> list[str]:
    parser = argparse.ArgumentParser(prog="drill", description="Kill each part in turn, and see the alerts.")
    parser.add_argument(
        "--only", action="append", default=[], metavar="PART", help="this part alone; may be repeated"
    )
    return [name.lower() for name in parser.parse_args().only]


def _drill(made: World, wanted: Sequence[str], began: float) -> int:
    simulation = Simulation(SimulationOptions(seed=5, events=60, events_per_document=20))
    made.system.capture([document.to_bytes() for document in simulation.documents()])
    eventually(lambda: made.system.sealed_count() >= 60, what="the first events are sealed")
    item = simulation.interesting().item
    assert item is not None
    load, rows, started_s = Load(made.system, item), list[Row](), time.time()
    say(HEAD)
    with load.running():
        for part in made.parts:
            if not wanted or part.name.lower() in wanted:
                rows.append(_kill(made, part, load))
                say(line(rows[-1]))
    kept = _all_kept(made, load)
    say(kept)
    well = all(row.is_well for row in rows) and kept.startswith("Nothing")
    if not wanted:
        panels = draw_all(made.prometheus, started_s, time.time())
        say(f"{panels} panels drawn")
        PAGE.write_text(page(rows, kept, minutes=(time.monotonic() - began) / 60))
        say(f"written to {PAGE.relative_to(ROOT)}")
    say("every alert came and cleared" if well else "NOT every alert came and cleared, or something was lost")
    return 0 if well else 1


def _kill(made: World, part: Part, load: Load) -> Row:
    watcher = Watcher(made.prometheus, part.expected)
    if not watcher.quiet(QUIET_S):
        active = sorted(labels["alertname"] for labels, _ in watcher.active())
        return Row(
            part.name, [Told(each) for each in part.expected], 0.0, f"not begun: still {', '.join(active)}"
        )
    before = load.counts.copy()
    part.kill()
    told = watcher.coming(COMING_S)
    began = time.monotonic()
    part.start()
    back_s = time.monotonic() - began
    watcher.clearing(told, CLEARING_S)
    counted = load.counts - before
    failed = {kind: counted[f"{kind} failed"] for kind in ("captures", "look-ups")}
    said = ", ".join(f"{count} {kind}" for kind, count in failed.items() if count)
    return Row(part.name, told, back_s, said or "none", sorted(watcher.others))


def _all_kept(made: World, load: Load) -> str:
    """Say whether each capture that was acknowledged is sealed, once, and all of it verifies."""
    system = made.system
    with system.collector() as collector:
        jobs = [collector.wait(job, deadline_s=120) for job in load.jobs]
    refused = [job.location for job in jobs if not job.success]
    if refused:
        return f"LOST: {len(refused)} captures were acknowledged and refused later"
    least = 60 + sum(job.counts["accepted"] for job in jobs)
    eventually(lambda: len(system.sealed()) >= least, deadline_s=120, what=f"{least} events are sealed")
    sealed = system.sealed()
    twice = len(sealed) - len({identity(1, each.facts) for each in sealed})
    eventually(lambda: system.sealed_count() >= len(sealed), deadline_s=60, what="all is published")
    verified = system.cli("verify")
    if twice or verified.returncode != 0:
        return f"WRONG: {twice} events are sealed twice; goodstrace verify ended with {verified.returncode}: {verified.stderr}"
    counts = load.counts
    return (
        f"Nothing was lost: {counts['captures done']} captures were acknowledged and {counts['captures failed']} were not; all of the first are "
        f"sealed, {len(sealed)} events, each once, and `goodstrace verify` passes. {counts['look-ups done']} rounds of look-ups were answered and "
        f"proved, {counts['look-ups failed']} failed while a part was away."
    )


if __name__ == "__main__":
    sys.exit(main())
