"""What a check of data logs."""

import mlflow
import pytest

from unetlab.errors import UserError
from unetlab.jobs.check import run_check
from unetlab.options import Options


def test_check_logs_a_data_card(store, pairs, capsys):
    card = run_check(Options(data=str(pairs)))
    assert "12 images" in capsys.readouterr().out
    runs = mlflow.search_runs(search_all_experiments=True)
    assert runs.loc[0, "tags.role"] == "check"
    logged = mlflow.artifacts.load_dict(f"runs:/{runs.loc[0, 'run_id']}/data_card.json")
    assert logged["images"] == 12 and logged["digest"] == card.digest


def test_a_broken_file_that_a_table_of_groups_names_is_still_what_is_told(store, pairs):
    names = sorted(path.stem for path in (pairs / "images").iterdir())
    (pairs / "groups.csv").write_text("\n".join(["id,group", *(f"{name},{i}" for i, name in enumerate(names)), ""]))
    broken = pairs / "images" / f"{names[3]}.png"
    broken.write_bytes(broken.read_bytes()[:40])
    with pytest.raises(UserError, match=f"D011.*{names[3]}"):
        run_check(Options(data=str(pairs)))
