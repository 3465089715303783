"""``python -m xltkit``."""

from xltkit.cli import main

raise SystemExit(main())
