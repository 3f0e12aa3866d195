"""What a check of data logs."""

import mlflow

from unetlab.jobs.check import run_check
from unetlab.options import Options


def test_check_logs_a_data_card(store, pairs, capsys):
    card = run_check(Options(data=str(pairs)))
    assert "12 images" in capsys.readouterr().out
    runs = mlflow.search_runs(search_all_experiments=True)
    assert runs.loc[0, "tags.role"] == "check"
    logged = mlflow.artifacts.load_dict(f"runs:/{runs.loc[0, 'run_id']}/data_card.json")
    assert logged["images"] == 12 and logged["digest"] == card.digest
