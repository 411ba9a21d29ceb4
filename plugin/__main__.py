"""The component provider, as a Pulumi language host starts it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from components.serve import main

main()
