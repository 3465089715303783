"""What tests of training share."""

from __future__ import annotations

import pytest

from xltkit.models import device


@pytest.fixture
def fp32(monkeypatch):
    monkeypatch.setattr(device, "precision", lambda: "no")
