"""Progress in a batch: lines, no bars."""

import itertools

from xltkit import progress


def test_a_batch_gets_one_line_an_interval(monkeypatch, capsys):
    clock = itertools.count()
    monkeypatch.setenv("XLTKIT_BATCH", "1")
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    with progress.track(100, "training", every=20) as bar:
        for _ in range(100):
            bar.update(loss=0.123456)
    lines = capsys.readouterr().out.splitlines()
    assert 3 <= len(lines) <= 6
    assert lines[0].startswith("training: step ")
    assert "loss 0.1235" in lines[0]
    assert "min left" in lines[0]
    assert "step 100/100" in lines[-1]


def test_a_loop_is_tracked(monkeypatch, capsys):
    monkeypatch.setenv("XLTKIT_BATCH", "1")
    assert list(progress.track(["a", "b", "c"], "reading", unit="file", every=0)) == ["a", "b", "c"]
    assert capsys.readouterr().out.splitlines()[-1].startswith("reading: file 3/3,")


def test_what_takes_less_than_an_interval_says_nothing(monkeypatch, capsys):
    monkeypatch.setenv("XLTKIT_BATCH", "1")
    assert list(progress.track([1, 2, 3], "reading", every=1e9)) == [1, 2, 3]
    assert capsys.readouterr().out == ""


def test_nobody_is_there_in_a_test():
    assert not progress.interactive()
