"""The process of a search's trials is begun early, once, and used."""

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


def test_nothing_is_begun_where_trials_are_trained_in_this_process_or_by_others(begun):
    begun.setenv("UNETLAB_ONE_PROCESS", "1")
    worker.begin_early()
    assert not worker.EARLY and not Begun.count
    assert cluster.is_wanted(Options(workers=2)) and cluster.is_wanted(Options(scheduler="tcp://host:8786"))
    assert not cluster.is_wanted(Options(workers=1))
