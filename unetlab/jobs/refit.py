"""A recipe that a search has settled, trained once more on training and validation images together."""

import time
from dataclasses import replace

import mlflow
import numpy as np

from unetlab.jobs import trial
from unetlab.jobs.bench import Bench


def refit(bench: Bench, before: trial.Outcome) -> trial.Outcome:
    """The final model of what was best on validation, which it learns too.

    Nothing is left to choose by: it trains as many epochs as were best before, of which the one with the lowest loss on
    images it learns is kept, mostly the last. It is served at the threshold and with the objects that validation chose
    then, and has no validation scores. Those of the outcome, and its history, are `before`'s.
    """
    epochs = int(before.history["val_loss"].argmin()) + 1
    recipe = before.recipe.changed({"epochs": epochs, "patience": 0})

    def work(own: trial.Own) -> trial.Outcome:
        started = time.perf_counter()
        rows = np.sort(np.concatenate([bench.split.train, bench.split.validation]))
        fitted = trial.fit_logged(bench, recipe, own, rows=rows)
        served = before.served.changed({"epochs": epochs, "patience": 0})
        trial.log_served(recipe, served)
        model_id = trial.log_model(bench, fitted.model, served, own.role, before.val.get("best_threshold"))
        mlflow.log_metrics(bench.setup.published_metrics())
        took = time.perf_counter() - started
        mlflow.log_metric("train/whole_seconds", took)
        weights = fitted.model.get_weights()
        outcome = replace(before, recipe=recipe, served=served, weights=weights, run_id=own.run_id, model_id=model_id)
        trial.keep(bench, own.training, outcome)
        bench.progress.done(f"{own.name}: on {len(rows)} images, {epochs} epochs, {took:.0f} s")
        return outcome

    name = f"{bench.setup.name} final, on validation images too"
    final = trial.in_run(bench, recipe, name, "final", {"refit_of": before.run_id}, work)
    bench.kept.forget_state("final")
    return final
