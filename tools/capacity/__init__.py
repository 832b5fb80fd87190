"""How much of everything an installation wants for so many events and looks a second: `python -m tools.capacity`."""
