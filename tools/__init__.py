"""Tools that build this project; not installed with it."""
