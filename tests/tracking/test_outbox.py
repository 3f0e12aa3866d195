"""Metrics reach the server in order and once, whatever happens on the way."""

import os
import resource
import signal
import time

import pytest
from mlflow.entities import Metric
from mlflow.tracking import MlflowClient

from unetlab.errors import Stopped
from unetlab.tracking import outbox


@pytest.fixture
def run_id(store, monkeypatch):
    monkeypatch.setattr(outbox, "FLUSH_SECONDS", 0.0)
    monkeypatch.setattr(outbox, "AGAIN", 0.05)
    return MlflowClient().create_run(MlflowClient().get_experiment_by_name("unetlab").experiment_id).info.run_id


def epoch(step):
    return [Metric("epoch/loss", 1 / step, 1000 + step, step), Metric("epoch/dice", step / 10, 1000 + step, step)]


def steps(run_id, key="epoch/loss"):
    return [metric.step for metric in MlflowClient().get_metric_history(run_id, key)]


def test_a_server_away_in_between_gets_all_metrics_once(run_id, monkeypatch):
    away, real = [True], MlflowClient.log_batch

    def log_batch(self, run_id, **told):
        if away[0] is True:
            raise ConnectionError("refused")
        real(self, run_id, **told)
        if away[0] == "answer lost":
            away[0] = False
            raise ConnectionError("reset")

    monkeypatch.setattr(MlflowClient, "log_batch", log_batch)
    box = outbox.Outbox(run_id)
    box.put(epoch(1))
    box.put(epoch(2))
    time.sleep(0.2)
    assert steps(run_id) == []
    away[0] = "answer lost"
    box.put(epoch(3))
    assert box.close() == 0
    assert steps(run_id) == steps(run_id, "epoch/dice") == [1, 2, 3] and not list(outbox.folder().glob("*.jsonl"))


def test_what_was_not_sent_is_sent_later(run_id, monkeypatch):
    def log_batch(self, run_id, **told):
        raise ConnectionError("refused")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_batch", log_batch)
        box = outbox.Outbox(run_id)
        box.put(epoch(1))
        assert box.close(patience=0.2) == 2
        patch.undo()
    with open(box.path, "a") as torn:
        torn.write('["epoch/lo')
    assert outbox.sync() == (2, 0) and steps(run_id) == [1]
    assert outbox.sync() == (0, 0) and not box.path.exists()


def left_unsent(run_id, monkeypatch, *epochs):
    """The file of a run whose server did not answer."""
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_batch", lambda *told, **more: (_ for _ in ()).throw(ConnectionError()))
        box = outbox.Outbox(run_id)
        for each in epochs:
            box.put(epoch(each))
        assert box.close(patience=0.2) == 2 * len(epochs)
    return box.path


def test_what_was_left_of_a_run_that_a_person_deleted_stops_nobody(run_id, monkeypatch):
    path = left_unsent(run_id, monkeypatch, 1)
    MlflowClient().delete_run(run_id)
    assert outbox.sync() == (0, 0) and not path.exists()


def test_metrics_of_a_run_that_another_store_has_wait_for_it_a_month(run_id, monkeypatch):
    path = left_unsent(run_id, monkeypatch, 1).rename(outbox.folder() / f"{'0' * 32}.jsonl")
    assert outbox.sync() == (0, 1) and path.exists()
    os.utime(path, (time.time() - outbox.KEPT - 60,) * 2)
    assert outbox.sync() == (0, 0) and not path.exists()


def test_two_that_send_the_same_do_not_get_in_each_other_s_way(run_id, monkeypatch):
    path = left_unsent(run_id, monkeypatch, 1)
    take = outbox.Lock.take

    def late(lock, *told):
        monkeypatch.setattr(outbox.Lock, "take", take)
        assert outbox.sync() == (2, 0)  # the other one, after this one has listed the file
        return take(lock, *told)

    monkeypatch.setattr(outbox.Lock, "take", late)
    assert outbox.sync() == (0, 0) and steps(run_id) == [1]
    assert not list(outbox.folder().glob(f"{path.stem}*"))


def test_what_comes_after_a_torn_line_is_sent_too(run_id, monkeypatch):
    with open(left_unsent(run_id, monkeypatch, 1), "a") as torn:
        torn.write('["epoch/lo')
    with monkeypatch.context() as patch:
        patch.setattr(outbox, "send", lambda *told: (_ for _ in ()).throw(ConnectionError()))
        box = outbox.Outbox(run_id)
        box.put(epoch(2))
        box.close(patience=0.2)
    assert outbox.sync() == (4, 0) and steps(run_id) == [1, 2]


def test_an_epoch_is_written_whole_or_not_at_all(run_id, monkeypatch):
    path, size = left_unsent(run_id, monkeypatch, 1), 0
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with monkeypatch.context() as patch:
        patch.setattr(outbox, "send", lambda *told: (_ for _ in ()).throw(ConnectionError()))
        box, size = outbox.Outbox(run_id), path.stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 40, limits[1]))  # half an epoch
        heard = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            with pytest.raises(Stopped, match="make room there"):
                box.put(epoch(2))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, heard)
        assert path.stat().st_size == size
        box.put(epoch(2))
        box.close(patience=0.2)
    assert outbox.sync() == (4, 0) and steps(run_id) == steps(run_id, "epoch/dice") == [1, 2]


def test_no_epoch_waits_for_the_disk_to_settle(run_id, monkeypatch):
    settled, real = [], outbox.os.fsync
    monkeypatch.setattr(outbox.os, "fsync", lambda descriptor: time.sleep(0.2) or settled.append(real(descriptor)))
    box = outbox.Outbox(run_id)
    started = time.perf_counter()
    box.put(epoch(1))
    assert time.perf_counter() - started < 0.1
    assert "epoch/loss" in box.path.read_text()  # a process that is killed now has lost nothing
    assert box.close() == 0 and settled and steps(run_id) == [1]
