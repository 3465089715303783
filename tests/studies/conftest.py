"""Processes that a test can start and kill."""

import pytest
from crew import Crew


@pytest.fixture
def crew(tmp_path):
    crew = Crew(tmp_path)
    yield crew
    for name in crew.running:
        crew.kill(name)
