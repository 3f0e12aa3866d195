"""Which images a model has seen, by their pixels and whatever they are called."""

import mlflow
import pytest
from conftest import write_pairs
from taught_models import taught, tiny

from unetlab.errors import UserError
from unetlab.jobs.evaluate import evaluate
from unetlab.tracking import read


@pytest.mark.parametrize("side", ["train", "validation"])
def test_images_the_model_was_trained_or_validated_on_are_refused_unless_allowed(store, pairs, side):
    model = taught(pairs, side)
    renamed = pairs.parent / "renamed"
    for kind in ("images", "masks"):
        (renamed / kind).mkdir(parents=True)
        for path in (pairs / kind).iterdir():
            (renamed / kind / f"new{path.name}").write_bytes(path.read_bytes())
    with pytest.raises(
        UserError, match=r"was trained or validated on 12 of 12 images in .*\(newcell00.*allow_seen=true"
    ):
        evaluate(model, str(renamed))
    assert mlflow.search_runs(filter_string="tags.role = 'evaluation'", search_all_experiments=True).empty
    assert read.find_one(evaluate(model, str(renamed), allow_seen=True).run_id).tags["seen_images"] == "12 of 12"


def test_some_seen_images_are_refused_and_its_own_test_images_are_not(store, pairs):
    model = taught(pairs)
    mixed = write_pairs(pairs.parent / "mixed", 5, seed=8)
    for kind in ("images", "masks"):
        (mixed / kind / "seen.png").write_bytes((pairs / kind / "cell02.png").read_bytes())
    with pytest.raises(UserError, match=r"on 1 of 6 images in .*\(seen\)"):
        evaluate(model, str(mixed))
    assert evaluate(taught(pairs, "test"), str(pairs)).figures["test/images"] == 12


def test_a_model_whose_run_says_nothing_of_its_images_is_scored_and_that_is_told(store, pairs, capsys):
    found = evaluate(tiny(), str(pairs))
    assert read.find_one(found.run_id).tags["seen_images"].startswith("unknown")
    assert "does not say which images it saw" in " ".join(capsys.readouterr().err.split())
