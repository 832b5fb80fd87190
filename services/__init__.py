"""The services: processes that meet in Kafka, MongoDB and proto/, never in each other's code."""

import gc
from typing import Final

# New objects before Python looks for cycles among them: a batch makes many objects and hardly a cycle, and importing none. With the
# default of 700 a tenth of the stages' time went there, and a sixth of the collector's start. Hence here, before all else is imported.
_GARBAGE_OBJECTS: Final = 20_000
gc.set_threshold(_GARBAGE_OBJECTS, *gc.get_threshold()[1:])
