"""``python -m carrara`` is ``carrara``."""

from carrara.cli import main

main()
