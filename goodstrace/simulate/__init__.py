"""`goodstrace simulate`: a seeded generator of supply chains, as EPCIS 2.0 documents.

Every chain goes from raw lots on farms through up to six transformations into items, cases and pallets, over a hub
into shops, where most items are sold, some come back, and a lot is now and then recalled. Pure but for `write`.
"""

from goodstrace.simulate.options import OptionError, SimulationOptions
from goodstrace.simulate.simulation import Document, Interesting, Simulation, simulate, write

__all__ = ["Document", "Interesting", "OptionError", "Simulation", "SimulationOptions", "simulate", "write"]
