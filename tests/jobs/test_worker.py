"""The process of a search's trials is begun early, once, and used."""

import pickle
from types import SimpleNamespace

import pytest

from unetlab.jobs import cluster, worker
from unetlab.options import Options


class Begun(worker.Child):
    """A process that is not really started."""

    count = 0

    def begin(self) -> None:
        Begun.count += 1


@pytest.fixture
def begun(monkeypatch):
    monkeypatch.setattr(worker, "Child", Begun)
    monkeypatch.setattr(worker, "EARLY", [])
    monkeypatch.setattr(Begun, "count", 0)
    return monkeypatch


def test_what_was_begun_early_is_what_the_search_takes(begun):
    begun.setenv("UNETLAB_ONE_PROCESS", "0")
    worker.begin_early()
    worker.begin_early()  # as another setup of a showdown does that was stopped before its search
    (early,) = worker.EARLY
    assert Begun.count == 1 and early.module == "unetlab.jobs.trial"
    assert worker.Workers(15).child is early and not worker.EARLY
    assert worker.Workers(15).child is not early


def answer(told, cache, *words):
    return words


def test_work_of_another_unetlab_is_refused_by_a_process_which_ends(store, monkeypatch):
    child = worker.Child()
    work = worker.packed(pickle.dumps, "", answer, 1)
    monkeypatch.setattr(worker, "code", lambda: "another")
    other = worker.packed(pickle.dumps, "", answer, 2)
    try:
        assert pickle.loads(child.do(work, lambda *_: None, 0)) == (1,)
        with pytest.raises(worker.Outdated):
            child.do(other, lambda *_: None, 0)
        assert child.process is None  # the next piece of work begins another
    finally:
        child.end()


def test_a_worker_that_outlasts_a_change_of_the_code_begins_a_new_process(monkeypatch):
    class Old(Begun):
        def do(self, work, *_):
            if outdated:
                raise worker.Outdated(outdated.pop())
            return b"done"

    own = SimpleNamespace(name=0, address="tcp://a:1", get_current_task=lambda: "k")
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(distributed, "get_worker", lambda: own)
    monkeypatch.setattr(cluster, "IDLE", [Old()])
    outdated = ["the process"]
    assert cluster._do(b"", [], 0, ()) == ("answer", b"done", [])
    outdated += ["the process", "what lies on the machine"]
    kind, said, _ = cluster._do(b"", [], 0, ())
    assert kind == "stopped" and said.startswith("tcp://a:1 has another unetlab than this command")


def test_nothing_is_begun_where_trials_are_trained_in_this_process_or_by_others(begun):
    begun.setenv("UNETLAB_ONE_PROCESS", "1")
    worker.begin_early()
    assert not worker.EARLY and not Begun.count
    assert cluster.is_wanted(Options(workers=2)) and cluster.is_wanted(Options(scheduler="tcp://host:8786"))
    assert not cluster.is_wanted(Options(workers=1))
