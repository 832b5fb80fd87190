"""Generate the code of proto/ before the packages are looked for; all else is in pyproject.toml."""

import sys
from pathlib import Path

from setuptools import setup

sys.path.insert(0, str(Path(__file__).resolve().parent))

from tools.generate_protos import generate

generate()
setup()
