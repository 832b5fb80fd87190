"""A worker of the watch, started again where it ends: `python -m services.audit.watch`.

Start as many as there is work for, up to the partitions of `browse.watched`.
"""

import sys

from services.audit.watch.supervising import Supervisor
from services.runtime.logs import configure
from services.runtime.settings import MonitoringSettings, load


def main() -> None:
    """Run until SIGTERM. Exits with 0 then; else with 2 where a setting is wrong, and with 1 where the worker ended too often."""
    log = configure("watch", load(MonitoringSettings).log_level)
    sys.exit(Supervisor([sys.executable, "-m", "services.audit.watch.process"], log).run())


if __name__ == "__main__":
    main()
