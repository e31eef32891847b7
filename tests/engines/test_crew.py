"""What becomes of batches whose workers die, on workers that live in this process."""

from __future__ import annotations

from collections import Counter, deque

import pytest

from t2i_spatial.engines.base import KILLED, Seat, Task, Work
from t2i_spatial.engines.crew import Died, Failed, Finished, Ready, dispatch
from t2i_spatial.errors import InputError, T2ISpatialError
from t2i_spatial.shards import Shards
from tests.engines.workers import SCHEMA, FailsAt, Square


class Crew:
    """Does what it is given at once; dies over `poison`, or with its node as `nodes` says."""

    def __init__(self, work, places=1, *, poison=(), nodes=()):
        self.work, self.places, self.poison = work, places, set(poison)
        self.nodes = Counter(nodes)
        self.events = deque(Ready(place) for place in range(places))
        self.seats = {place: self._seat(place) for place in range(places)}
        self.gave = []
        self.closed = False

    def _seat(self, place):
        return Seat(self.work.workers(f"place {place}"), self.work.shards, f"node {place}")

    def wait(self):
        return [self.events.popleft()]

    def give(self, place, task, following):
        self.gave.append((place, task.number, following and following.number))
        if self.nodes[task.number] > 0:
            self.nodes[task.number] -= 1
            self.events += [Died(place, "a node is gone", of_node=True), Ready(place)]
        elif self.poison & set(task.items):
            self.events += [Died(place, "exit code 9"), Ready(place)]
        else:
            try:
                self.events.append(Finished(place, self.seats[place].do(task, following)))
            except InputError as error:
                self.events.append(Failed(place, error))

    def size(self):
        return self.places

    def close(self):
        self.closed = True


@pytest.fixture
def shards(tmp_path):
    return Shards(tmp_path / "square" / "plan")


def work_of(shards, batches, workers=Square, enough=None):
    return Work("square", shards, list(enumerate(batches)), workers, enough=enough)


def test_the_one_item_that_kills_workers_is_found_and_all_others_are_done(shards):
    batches = [list(range(10)), list(range(10, 20)), [20]]
    work = work_of(shards, batches)
    crew = Crew(work, 2, poison=[13])
    done = list(dispatch(crew, work))
    rows = shards.read_all(SCHEMA)
    assert rows["n"].to_list() == [-1 if n == 13 else n * n for n in range(21)]
    assert rows.filter(n=-1)["device"].to_list() == [KILLED]
    assert sum(one.items for one in done) == 21
    assert shards.finished() == {0, 1, 2} and crew.closed
    assert not list(shards.folder.glob("pieces/*"))


def test_every_poisoned_item_of_a_batch_is_found_and_a_batch_may_be_one_item(shards):
    batches = [[0, 1], list(range(2, 18)), [18]]
    work = work_of(shards, batches)
    list(dispatch(Crew(work, poison=[2, 17, 18]), work))
    bad = {2, 17, 18}
    assert shards.read_all(SCHEMA)["n"].to_list() == [-1 if n in bad else n * n for n in range(19)]


def test_a_worker_that_died_once_is_no_reason_to_cut_a_batch(shards):
    work = work_of(shards, [[0, 1], [2, 3]])
    crew = Crew(work, poison=[2])
    events = dispatch(crew, work)
    next(events)
    give = crew.give

    def once(place, task, following):
        give(place, task, following)
        crew.poison.clear()

    crew.give = once
    list(events)
    assert shards.read_all(SCHEMA)["n"].to_list() == [0, 1, 4, 9]
    assert [number for _, number, _ in crew.gave] == [0, 1, 1]


def test_a_batch_whose_node_died_runs_whole_elsewhere_but_not_for_ever(shards):
    work = work_of(shards, [[0, 1], [2, 3]])
    list(dispatch(Crew(work, 2, nodes={1: 4}), work))
    assert shards.read_all(SCHEMA)["n"].to_list() == [0, 1, 4, 9]
    other = work_of(Shards(shards.folder.with_name("other")), [[0, 1], [2, 3]])
    with pytest.raises(T2ISpatialError, match=r"batch 2 was lost with its node 5 times .*is gone"):
        list(dispatch(Crew(other, 2, nodes={1: 9}), other))
    assert other.shards.finished() == {0}


def test_workers_that_die_over_everything_end_the_stage(shards):
    work = work_of(shards, [[k] for k in range(100)])
    crew = Crew(work, poison=range(100))
    with pytest.raises(T2ISpatialError, match=r"die over every batch \(last: exit code 9\)"):
        list(dispatch(crew, work))
    assert len(crew.gave) == 6 and crew.closed
    later = work_of(Shards(shards.folder.with_name("later")), [[0], list(range(1, 2000))])
    with pytest.raises(T2ISpatialError, match="12 workers died one after another"):
        list(dispatch(Crew(later, poison=range(1, 2000)), later))


def test_an_error_of_a_worker_ends_the_stage_and_what_is_finished_stays(shards):
    work = work_of(shards, [[0], [2], [4]], FailsAt)
    crew = Crew(work)
    with pytest.raises(InputError, match="two is not allowed"):
        list(dispatch(crew, work))
    assert shards.finished() == {0} and crew.closed


def test_places_hear_of_the_batch_that_follows_and_idle_ones_take_it_at_the_end(shards):
    work = work_of(shards, [[k] for k in range(4)])
    crew = Crew(work, 2)
    crew.wait = lambda: [crew.events.popleft() for _ in range(len(crew.events))]
    give, slow = crew.give, []
    crew.give = lambda place, *task: slow.append(task) if place == 0 else give(place, *task)
    events = dispatch(crew, work)
    assert [next(events).number for _ in range(3)] == [2, 3, 1]
    assert [(task.number, following.number) for task, following in slow] == [(0, 1)]
    give(0, *slow[0])
    assert [one.number for one in events] == [0]


def test_enough_is_enough_for_all_workers_together(shards):
    class Counting(Square):
        count = 0

        def __call__(self, batch):
            self.count += len(batch)
            return super().__call__(batch)

        def facts(self):
            return {"items": self.count}

    work = work_of(shards, [[k] for k in range(9)], Counting, lambda t: t.get("items", 0) >= 4)
    assert len(list(dispatch(Crew(work, 2), work))) == 5  # one was under way
    assert len(shards.finished()) == 5


def test_a_late_worker_keeps_its_rows_to_itself(shards):
    seat = Seat(Square("early"), shards, "early")
    assert not seat.do(Task(0, [1, 2])).other
    late = Square("late")
    assert not shards.write(0, late([1, 2]))
    assert shards.write(0, Square("early")([1, 2]))
    done = Seat(late, shards, "late").do(Task(0, [1, 2]))
    assert done.seconds == 0 and shards.read(0)["device"].to_list() == ["early", "early"]


def test_an_interrupted_command_ends_its_workers(shards):
    work = work_of(shards, [[0], [1]])
    crew = Crew(work)
    events = dispatch(crew, work)
    next(events)
    crew.events.clear()
    crew.wait = interrupted
    with pytest.raises(KeyboardInterrupt):
        next(events)
    assert crew.closed


def interrupted():
    raise KeyboardInterrupt
