"""Simulated supply chains, captured and sealed by a system."""

from typing import Any

from goodstrace.simulate import Simulation, SimulationOptions
from tests.system.harness import System


def seal_simulation(system: System, **options: Any) -> str:
    """Capture all documents of a simulation with these options, and return when they are sealed: the key of an item with much history."""
    simulation = Simulation(SimulationOptions(**options))
    system.capture_sealed([document.to_bytes() for document in simulation.documents()])
    item = simulation.interesting().item
    assert item is not None
    return item
