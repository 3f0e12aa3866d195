"""Which runs are found, and what is said of those that are not or are not finished."""

import subprocess

import mlflow
import numpy as np
import pytest
from fake_runs import IDS, difficulty, log_setup_run, random_id

from unetlab.comparison.compare import compare
from unetlab.errors import UserError
from unetlab.tracking import read, write


def _noise(seed: int, size: float = 0.02, n: int = len(IDS)) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, size, n)


def test_equal_digests_with_other_images_are_refused(store):
    log_setup_run("a", difficulty())
    log_setup_run("b", difficulty(), ids=[*IDS[:-1], "stranger"])
    with pytest.raises(UserError, match="not in both: (stranger|image029)"):
        compare()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"runs": [random_id()]}, "no run"),
        ({"experiment": "nowhere"}, "no experiment 'nowhere' .* there are: .*unetlab"),
        ({"where": "metrics.dice >< 3"}, "does not understand the filter"),
        ({}, "two finished setup runs or more, found: none"),
    ],
)
def test_wrong_requests_are_one_line(store, arguments, message):
    with pytest.raises(UserError, match=message) as caught:
        compare(**arguments)
    assert "\n" not in str(caught.value)


def test_an_unfinished_run_is_refused_by_id_and_left_out_of_an_experiment(store):
    done = [log_setup_run(name, difficulty() + _noise(1)) for name in ("a", "b")]
    client = mlflow.MlflowClient()
    experiment = client.get_run(done[0]).info.experiment_id
    running = client.create_run(experiment, tags={"role": "search", "setup": "c"}).info.run_id
    assert set(compare().names) == {"a", "b"}
    with pytest.raises(UserError, match="is RUNNING with role search"):
        compare([done[0], running])


def test_budgets_are_the_same_however_they_were_typed(store):
    as_taken = {"minutes": "30.0", "trials": "3", "refit": "true", "scale": "0.5", "tta": "4", "view": "patches"}
    as_typed = {"minutes": "30", "trials": "03", "refit": "True", "scale": ".50", "tta": "4", "view": "patches"}
    runs = [log_setup_run(name, difficulty(), params=told) for name, told in (("a", as_typed), ("b", as_taken))]
    assert [read.budget(each) for each in read.find(runs)] == [as_taken, as_taken]
    assert not [note for note in compare(runs).notes if "budget" in note]
    other = log_setup_run("c", difficulty(), params={**as_taken, "minutes": "31"})
    assert [note for note in compare([runs[0], other]).notes if "different budgets (minutes)" in note]


def test_images_may_be_called_what_tables_call_nothing(store):
    names = ["NA", "null", "None", "nan", "n/a", *IDS[5:]]
    runs = [log_setup_run(name, difficulty() + _noise(1), ids=names) for name in ("a", "b")]
    found = read.table(read.find(runs)[0])
    assert found["id"].tolist() == names and found["native_dice"].notna().all()
    assert compare(runs).names


def test_the_commit_is_that_of_unetlab_wherever_one_stands(tmp_path, monkeypatch):
    here = write.git_commit()
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    monkeypatch.chdir(tmp_path)
    assert write.git_commit() == here
    monkeypatch.setattr(write, "__file__", str(tmp_path / "write.py"))  # installed below somebody's repository
    assert write.git_commit() == "unknown"
