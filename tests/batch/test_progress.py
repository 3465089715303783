"""Progress in a batch: lines, no bars."""

import pytest

from xltkit import progress


@pytest.mark.parametrize("interval", [0, 1e9])
def test_a_batch_gets_one_line_an_interval_and_none_for_what_takes_less(
    monkeypatch, capsys, interval
):
    monkeypatch.setenv("XLTKIT_BATCH", "1")
    monkeypatch.setattr(progress, "INTERVAL", interval)
    with progress.track(5, "training", initial=2) as bar:
        for _ in range(3):
            bar.set_postfix(loss=0.123456, refresh=False)
            bar.update()
    assert list(progress.track(["a", "b"], "reading", unit="file")) == ["a", "b"]
    printed = capsys.readouterr()
    assert printed.err == "" and "\r" not in printed.out
    lines = printed.out.splitlines()
    assert bool(lines) == (interval == 0)
    assert not progress.interactive()
    if lines:
        assert "training: step 3/5, loss=0.123" in "\n".join(lines)
        assert "reading: file 2/2" in lines[-1] and " left" in lines[-1]
