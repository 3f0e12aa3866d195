"""Where a search is computed: what is refused, what is no part of the plan, and which GPU is whose."""

import dataclasses
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tiny_setup import QUIET, RECIPE, TINY

from unetlab.data import Dataset, cache, open_dataset
from unetlab.errors import Stopped, UserError
from unetlab.jobs import cluster, judge, run
from unetlab.jobs.cluster import Cluster, refuse_unreachable
from unetlab.jobs.resume import Kept
from unetlab.jobs.worker import Workers
from unetlab.options import Options


def test_workers_of_a_cluster_must_reach_the_store(store, monkeypatch):
    refuse_unreachable(Options(workers=4))
    with pytest.raises(UserError, match="cannot write to the tracking store of this machine; `make server`"):
        refuse_unreachable(Options(scheduler="tcp://far:8786"))
    monkeypatch.setattr("mlflow.get_tracking_uri", lambda: "http://server:5000")
    refuse_unreachable(Options(scheduler="tcp://far:8786"))
    with pytest.raises(UserError, match="tuner=bayesian proposes other trials .* by workers=N beside scheduler"):
        refuse_unreachable(Options(scheduler="tcp://far:8786", tuner="bayesian"))
    refuse_unreachable(Options(scheduler="tcp://far:8786", tuner="bayesian", workers=8))


def test_without_dask_it_is_said_what_to_install(store, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    refuse_unreachable(Options())
    with pytest.raises(UserError, match=r"pip install -e '.\[cluster\]'"):
        refuse_unreachable(Options(workers=2))


def test_a_scheduler_that_is_not_there_is_named(monkeypatch):
    real = cluster._distributed()
    monkeypatch.setattr(real, "Client", lambda address, **told: _raise(OSError(f"cannot connect to {address}")))
    with pytest.raises(UserError, match="scheduler=tcp://nowhere:1: no Dask scheduler answers there"):
        Cluster(0, "tcp://nowhere:1", 15, QUIET).__enter__()


def _raise(error):
    raise error


def test_one_worker_is_a_process_beside_the_search_and_more_are_dask_s():
    assert isinstance(cluster.workers(Options(), QUIET), Workers)
    assert isinstance(cluster.workers(Options(workers=1), QUIET), Workers)
    several = cluster.workers(Options(workers=3, stall=2), QUIET)
    assert isinstance(several, Cluster) and (several.at_once, several.stall) == (3, 120)


@pytest.mark.parametrize(("tuner", "same"), [("random", True), ("grid", True), ("bayesian", False)])
def test_where_a_search_is_computed_is_part_of_the_plan_only_where_it_changes_what_is_proposed(pairs, tuner, same):
    dataset = open_dataset(str(pairs))
    sides = run.split(dataset.ids, np.arange(len(dataset)), ["grey"] * len(dataset), seed=0)

    def key(**told):
        return run._plan(TINY, RECIPE, Options(**{"trials": 4, "tuner": tuner, **told}), dataset, sides, {})

    assert key() == key(scheduler="tcp://a:1") == key(workers=1)
    assert (key() == key(workers=4)) is same
    assert key(workers=4) == key(workers=4, scheduler="tcp://a:1")
    assert key() != key(trials=5)
    named = dataclasses.replace(dataset, meaning="classes", classes=("background", "cell", "debris"))
    dataset = dataclasses.replace(named, classes=("background", "debris", "cell"))
    swapped = key()
    dataset = named
    assert swapped != key()


def test_each_process_of_this_machine_has_a_gpu_of_its_own(monkeypatch):
    assert [cluster._environment(k, ("2", "5"))["CUDA_VISIBLE_DEVICES"] for k in (0, 1)] == ["2", "5"]
    assert cluster._environment("tcp://far:1", ()) == {}
    monkeypatch.setattr("tensorflow.config.list_physical_devices", lambda kind: ["one", "two"])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert cluster.gpus() == ("0", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-7")
    assert cluster.gpus() == ("3", "GPU-7")
    assert [cluster.at_once(Options(workers=workers)) for workers in (0, 1, 4)] == [1, 1, 2]
    assert cluster.at_once(Options(workers=4, scheduler="tcp://a:1")) == 4
    monkeypatch.setattr("tensorflow.config.list_physical_devices", lambda kind: [])
    assert cluster.at_once(Options(workers=4)) == 4


@pytest.mark.parametrize("gone", [1, 3, 99])
def test_a_worker_that_is_lost_while_it_is_sent_a_data_set_is_replaced(monkeypatch, gone):
    asked = []

    class Client:
        """Of workers that lack a data set, the first `gone` of which are lost meanwhile."""

        def submit(self, *told, **more):
            asked.append(told)
            there = len(asked) > gone
            answer = ("answer", b"done", []) if there else ("missing", (f"tcp://w{len(asked)}:1", ["cells"]), [])
            return type("Future", (), {"result": lambda self: answer})()

    sender = Cluster(0, "tcp://head:1", 0, QUIET)
    sender.client, sender.devices, sender.resources = Client(), (), None
    monkeypatch.setattr(sender, "_send", lambda *told: _raise(OSError("Timed out trying to connect")))
    if gone < cluster.TRIES:
        assert sender.do(b"work") == b"done" and len(asked) == gone + 1
        return
    with pytest.raises(Stopped, match="cells cannot be sent to the workers .Timed out"):
        sender.do(b"work")
    assert len(asked) == cluster.TRIES


def test_a_data_set_that_is_sent_in_pieces_is_there_whole(pairs, monkeypatch, tmp_path):
    dataset = open_dataset(str(pairs))
    pieces = []
    sender = Cluster(2, "", 0, QUIET)
    sender.client = type("Client", (), {"run": lambda self, *told, workers: pieces.append(told)})()
    monkeypatch.setattr(cluster, "PIECE", 7000)
    sender._send("tcp://far:1", dataset.folder.name)
    assert pieces[-1][2] == "index.json" and len(pieces) > 4
    monkeypatch.setenv("UNETLAB_CACHE", str(tmp_path / "far"))
    for write, *told in pieces[:-1]:
        write(*told)
    assert not (cache.root() / dataset.folder.name / "index.json").exists()
    pieces[-1][0](*pieces[-1][1:])
    there: Dataset = dataclasses.replace(dataset, folder=cache.root() / dataset.folder.name)
    assert (there.image(7) == dataset.image(7)).all() and (there.labels(7) == dataset.labels(7)).all()
    assert not list((cache.root() / dataset.folder.name).glob(".building-*"))


def test_a_full_disk_of_a_worker_stops_a_shard_in_one_line():
    full = OSError(28, "No space left on device", "/out/masks/a.png")
    with pytest.raises(Stopped, match="cannot write /out/masks/a.png .No space left on device"):
        cluster._shard_elsewhere(None, Path("/cache"), lambda shard: _raise(full), "a shard")
    with pytest.raises(ZeroDivisionError):
        cluster._shard_elsewhere(None, Path("/cache"), lambda shard: 1 / shard, 0)


def test_a_worker_sends_what_lies_on_its_own_disk_before_and_after_a_trial(monkeypatch):
    @dataclasses.dataclass
    class Bench:
        dataset: str = ""
        truth: str = ""
        kept: Kept = Kept("parent")
        progress: object = None

    done = []
    monkeypatch.setattr(
        judge,
        "mlflow",
        SimpleNamespace(get_run=lambda run_id: SimpleNamespace(info=SimpleNamespace(experiment_id="1"))),
    )
    monkeypatch.setattr(judge, "_here", lambda dataset, root: dataset)
    monkeypatch.setattr(judge, "trainings", lambda *told: {})
    monkeypatch.setattr(judge, "judge", lambda *told: done.append("trial") or "judged")
    monkeypatch.setattr(judge.outbox, "sync", lambda: done.append("sync") or _raise(Stopped("the server is away")))
    assert judge.judge_elsewhere(None, Path("/cache"), Bench(), None, "trial 1", 1) == "judged"
    assert done == ["sync", "trial", "sync"]
