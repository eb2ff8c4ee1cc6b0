"""How much the slow tests try of what is many: a third of the places and cases, or with CARRARA_THOROUGH=1 all."""

import os

EACH = 1 if os.environ.get("CARRARA_THOROUGH") == "1" else 3
"""Each so many-th is tried."""
