"""Every task and benchmark as rows of tables."""

from xltkit.tasks.suites import captions, english, microworld, retrieval, xtreme

TASKS = microworld.TASKS | xtreme.TASKS | retrieval.TASKS | english.TASKS | captions.TASKS
SUITES = microworld.SUITES | xtreme.SUITES
