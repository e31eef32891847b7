"""One writer at a time on a store, also when one of them was killed, sleeps or comes late."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time

import pytest

from t2i_spatial import locks
from t2i_spatial.errors import InputError, T2ISpatialError
from t2i_spatial.labels import Label, append_label, read_labels
from t2i_spatial.locations import locate
from t2i_spatial.run import LOCK, Run


def held(path, **other) -> None:
    """The lease of another process, as it stands in the store."""
    record = {"owner": "x", "host": "elsewhere", "process": 7, "machine": None, "seconds": 60.0}
    path.write_bytes(json.dumps({**record, "renewed": time.time(), **other}).encode())


@pytest.fixture
def run(url) -> Run:
    return Run.create(f"{url}/run")


def test_a_second_writer_is_refused_in_one_line_and_the_first_one_goes_on(run):
    with run.writing():
        said = []

        def second() -> None:
            try:
                with Run.open(run.path).writing():
                    said.append("two at once")
            except InputError as error:
                said.append(str(error))

        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
        assert len(said) == 1
        assert "another t2i-spatial command is writing" in said[0]
        assert "\n" not in said[0]
        with Run.open(run.path).writing():  # a stage that calls another one
            pass
        run.begin("detect", {})
    assert not (run.path / LOCK).exists()
    assert "detect" in Run.open(run.path).manifest["stages"]


def test_the_lease_of_another_machine_holds_until_it_was_not_renewed_in_time(run, capsys):
    held(run.path / LOCK)
    with pytest.raises(InputError, match="process 7 on elsewhere"), run.writing():
        pytest.fail("two at once")
    held(run.path / LOCK, renewed=time.time() - 61)
    with run.writing():
        run.begin("detect", {})
    assert "taken over from process 7 on elsewhere" in capsys.readouterr().err


def test_the_lease_of_a_process_of_this_machine_that_is_gone_is_taken_over_at_once(run):
    gone = 2**22 + 1  # beyond the largest process number
    held(run.path / LOCK, process=gone, machine=locks._machine())
    with run.writing():
        pass


KILLED = """
import signal, sys
import polars as pl
from t2i_spatial.run import Run
run = Run.open(sys.argv[1])
with run.writing():
    run.begin("detect", {"n": 2})
    run.shards("detect").write(0, pl.DataFrame({"n": [1]}))
    signal.raise_signal(signal.SIGKILL)
"""


@pytest.mark.skipif(locks._machine() is None, reason="machines cannot be told apart here")
def test_a_process_that_was_killed_loses_nothing_and_keeps_nobody_waiting(run):
    killed = subprocess.run([sys.executable, "-c", KILLED, str(run.path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (run.path / LOCK).exists()
    with run.writing():
        run.begin("detect", {"n": 2})  # the same command
        assert run.shards("detect").finished() == {0}
        assert run.shards("detect").read(0)["n"].to_list() == [1]
        run.finish("detect")
    assert not (run.path / LOCK).exists()


def test_a_lease_is_renewed_while_its_holder_works(run, monkeypatch):
    monkeypatch.setattr(locks, "LEASE_SECONDS", 0.4)
    with run.writing():
        first = json.loads((run.path / LOCK).read_bytes())
        deadline = time.monotonic() + 60
        while json.loads((run.path / LOCK).read_bytes())["renewed"] == first["renewed"]:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_who_lost_the_lease_unnoticed_overwrites_nothing(run):
    """It slept for long; another command took over, did its work and let go."""
    theirs = b'{"format": 1, "stages": {"score": {}}}'
    with run.writing():
        run.begin("detect", {"n": 1})
        (run.path / "run.json").write_bytes(theirs)
        with pytest.raises(T2ISpatialError, match=r"another command has written run\.json"):
            run.finish("detect")
    assert (run.path / "run.json").read_bytes() == theirs


def test_who_lost_the_lease_and_notices_stops(run, monkeypatch):
    monkeypatch.setattr(locks, "LEASE_SECONDS", 0.4)
    with run.writing():
        held(run.path / LOCK)
        deadline = time.monotonic() + 60
        with pytest.raises(T2ISpatialError, match="taken over by process 7 on elsewhere"):
            while time.monotonic() < deadline:
                run.begin("detect", {})
                time.sleep(0.05)
    assert json.loads((run.path / LOCK).read_bytes())["owner"] == "x"  # not ours to remove


def test_a_lock_that_is_no_lease_is_named(run):
    (run.path / LOCK).write_bytes(b"hello")
    told = r"\.run\.lock is not a lease of this program"
    with pytest.raises(InputError, match=told), run.writing():
        pytest.fail("without a lease")


def test_two_commands_that_make_one_run_at_once_make_one(url, monkeypatch):
    first = Run.create(f"{url}/run")
    with first.writing():
        first.begin("detect", {})
    monkeypatch.setattr(type(first.path), "exists", lambda *_: False)
    with monkeypatch.context() as patch:
        patch.setattr(Run, "_load", lambda self: setattr(self, "manifest", {"there": True}))
        assert Run.create(f"{url}/run").manifest == {"there": True}
    assert b"detect" in first.path.joinpath("run.json").read_bytes()


def test_a_store_that_knows_no_conditions_still_has_one_writer(url, faults):
    """Some stores of S3's kind answer 501 to a conditional write."""
    said = b"A header you provided implies functionality that is not implemented"
    faults.refuse_conditions = (501, b"NotImplemented", said)
    run = Run.create(f"{url}/run")
    with run.writing():
        run.begin("detect", {})
        other = locate(f"{url}/run/{LOCK}")
        assert not other.create(b"mine")
        assert not other.replace_version(b"mine", "another version")
    assert "detect" in Run.open(run.path).manifest["stages"]
    held(run.path / LOCK)
    with pytest.raises(InputError, match="process 7 on elsewhere"), run.writing():
        pytest.fail("two at once")


def test_labels_of_several_people_are_added_to_one_file(url):
    path = locate(f"{url}/labels/all.jsonl")
    base = {"image": "images/0.png", "image_sha256": None, "prompt_id": "0", "sample": 0}
    base |= {"question_id": "q", "label": "yes"}
    labels = [Label(**base, annotator=f"person {n}") for n in range(6)]
    threads = [threading.Thread(target=append_label, args=(path, one)) for one in labels]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(read_labels([path])["annotator"]) == sorted(one.annotator for one in labels)
