"""A real tracking server that is away for a while: it has every metric afterwards, in order and once."""

import shutil
import time

import pytest
from click.testing import CliRunner
from mlflow.entities import Metric
from mlflow.tracking import MlflowClient

from benchmarks import survival
from benchmarks.processes import free_ports
from unetlab.tracking import outbox


@pytest.fixture
def server(tmp_path, migrated, monkeypatch):
    """Begins the server of a folder, the same one each time: a context manager."""
    import mlflow

    shutil.copy(migrated, tmp_path / "mlflow.db")
    monkeypatch.setattr(outbox, "AGAIN", 0.5)
    monkeypatch.setattr(outbox, "FLUSH_SECONDS", 0.1)
    for name, value in survival.SHORT.items():
        monkeypatch.setenv(name, value)
    port = free_ports(1)[0]
    mlflow.set_tracking_uri(f"http://127.0.0.1:{port}")
    yield lambda: survival.mlflow_server(tmp_path, port)
    mlflow.set_tracking_uri(None)


@pytest.mark.slow  # waits for a server that is away
def test_metrics_of_epochs_reach_a_server_that_was_away(server):
    with server():
        run_id = MlflowClient().create_run("0").info.run_id
        box = outbox.Outbox(run_id)
        box.put([Metric("epoch/loss", 1.0, 1, 1)])
        while box.waiting:
            time.sleep(0.05)
    for step in range(2, 12):  # for longer than all of MLflow's retries
        box.put([Metric("epoch/loss", 1 / step, step, step)])
        time.sleep(0.3)
    assert len(box.waiting) == 10
    with server():
        box.put([Metric("epoch/loss", 1 / 12, 12, 12)])
        assert box.close() == 0
        found = MlflowClient().get_metric_history(run_id, "epoch/loss")
    assert [(metric.step, metric.value) for metric in found] == [(step, 1 / step) for step in range(1, 13)]
    assert not box.path.exists()


@pytest.mark.slow
def test_a_search_outlives_its_server_for_a_minute_and_goes_on_after_longer_than_all_retries(store):
    answer = CliRunner().invoke(survival.main, ["outages", "--seconds", "60"])
    assert answer.exit_code == 0, answer.output
