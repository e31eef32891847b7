"""Progress for logs: lines now and then, none for what is quick, none with -q."""

from __future__ import annotations

import pytest

from t2i_spatial import progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    monkeypatch.delenv("T2I_SPATIAL_PROGRESS", raising=False)
    yield now
    progress.set_quiet(False)


def test_without_a_terminal_a_line_is_written_now_and_then(clock, capsys):
    with progress.progress_bar(1000, "generate", done=100) as bar:
        for second in range(1, 71):
            clock[0] = float(second)
            bar.update(10)
    assert capsys.readouterr().err.splitlines() == [
        "generate: 400 of 1,000 img (40%), 10 img/s, 60 s left",
        "generate: 700 of 1,000 img (70%), 10 img/s, 30 s left",
    ]


def test_what_is_quick_writes_nothing(clock, capsys):
    bar = progress.progress_bar(3, "export")
    bar.update(3)
    bar.close()
    assert capsys.readouterr().err == ""


def test_quiet_is_quiet(clock, capsys):
    progress.set_quiet(True)
    bar = progress.progress_bar(10, "generate")
    clock[0] = 1000.0
    bar.update()
    bar.close()
    assert capsys.readouterr().err == ""
