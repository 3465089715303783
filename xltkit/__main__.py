"""``python -m xltkit``."""

import sys

from xltkit.cli import main

sys.exit(main())
