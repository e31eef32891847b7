"""A stage as all are, which jobs make together."""

from __future__ import annotations

import threading

from t2i_spatial.engines import EngineSettings, make_engine, run_batches
from t2i_spatial.errors import T2ISpatialError
from t2i_spatial.files import write_table
from t2i_spatial.jobs import DoneElsewhere
from t2i_spatial.run import writes_run
from tests.engines.workers import SCHEMA, Square

BATCHES = [[0, 1], [2, 3], [4], [5, 6], [7]]
SQUARES = [n * n for n in range(8)]


@writes_run
def square(run, *, engine=None, plan=0):
    """A stage as all are."""
    run.begin("square", {"plan": plan})
    if run.is_finished("square"):
        return "already"
    run_batches(run, "square", BATCHES, Square, engine=engine)
    write_table(run.path / "squares.parquet", run.shards("square").read_all(SCHEMA))
    run.finish("square")
    return "made"


def job(text):
    return make_engine(EngineSettings(shard=text))


def elsewhere(work):
    """The result or error of `work` in another thread, whose locks are another command's."""
    found = []

    def do():
        try:
            found.append(work())
        except (T2ISpatialError, DoneElsewhere) as error:
            found.append(error)

    thread = threading.Thread(target=do)
    thread.start()
    thread.join()
    return found[0]
