"""The search: KerasTuner proposes hyperparameters, a function scores them. It knows nothing of U-Nets."""

import logging
import math
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras_tuner
import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning

from unetlab.errors import Stopped

log = logging.getLogger(__name__)

OBJECTIVE = "objective"

Evaluate = Callable[[int, Mapping[str, Any], int | None], float]
"""(trial number, hyperparameters, epochs or None for all) -> objective, higher is better."""


class _Tuner(keras_tuner.engine.base_tuner.BaseTuner):
    """Hands each trial to a function; the oracle does the rest."""

    def __init__(self, oracle: keras_tuner.Oracle, evaluate: Evaluate, directory: str) -> None:
        super().__init__(oracle=oracle, directory=directory, project_name="search", overwrite=True)
        self.evaluate = evaluate

    def run_trial(self, trial: Any, *args: Any, **kwargs: Any) -> dict[str, float]:
        values = dict(trial.hyperparameters.values)
        # Hyperband asks for few epochs first; a promoted trial is trained anew, since a recipe's
        # learning-rate schedule and early stopping only mean something over its whole length.
        epochs = values.get("tuner/epochs")
        values = {name: value for name, value in values.items() if not name.startswith("tuner/")}
        try:
            return {OBJECTIVE: self.evaluate(int(trial.trial_id), values, epochs)}
        except Stopped as stopped:  # no fault of the trial: the search ends, and can go on later
            raise keras_tuner.errors.FatalError(str(stopped)) from stopped
        except Exception as error:
            log.warning("trial %s failed: %s", trial.trial_id, error)
            return {OBJECTIVE: float("nan")}  # KerasTuner marks it FAILED; an exception it would print in full


def search(
    space: keras_tuner.HyperParameters,
    evaluate: Evaluate,
    *,
    tuner: str,
    trials: int,
    epochs: int,
    seed: int,
    minutes: float = 0.0,
    begun: int = 0,
) -> pd.DataFrame:
    """Runs `trials` trials, the first with the space's defaults; a trial that raises is FAILED and the search goes on.

    Args:
        space: the declared search space; its defaults are the reference trial.
        evaluate: trains and scores one trial.
        tuner: "random", "bayesian", "hyperband" or "grid".
        trials: how many, at most; a grid or a Hyperband schedule may end earlier. Of a grid with more points than
            that, points are tried that have every value of each hyperparameter about as often as any other.
        epochs: of a whole training, for Hyperband.
        seed: of the proposals.
        minutes: after which no trial begins; 0 for no limit.
        begun: trials that an earlier attempt has begun; the minutes do not count for them.

    Returns:
        One row a trial: number, status ("COMPLETED" or "FAILED"), objective (NaN if failed), tuner_epochs (NaN: all,
        as long as the final training), and a column for each hyperparameter.
    """
    oracle = _oracle(tuner, space, trials, epochs, seed)
    if tuner != "grid":  # a grid begins with the defaults of its own accord
        _begin_with(oracle, [{hp.name: hp.default for hp in space.space}])
    elif grid_size(space) > trials:
        _begin_with(oracle, spread(space, trials, seed))
    if minutes:
        _stop_after(oracle, minutes, begun)
    with tempfile.TemporaryDirectory(prefix="unetlab-search-") as scratch:
        runner = _Tuner(oracle, evaluate, scratch)
        with warnings.catch_warnings():
            # the few points of a young search leave the Gaussian process of "bayesian" at its bounds
            warnings.simplefilter("ignore", ConvergenceWarning)
            try:
                runner.search(verbose=0)
            except keras_tuner.errors.FatalError as fatal:
                raise (fatal.__cause__ or fatal) from None
        return _table(oracle, epochs)


def trained_in_full(trials: pd.DataFrame) -> pd.DataFrame:
    """The completed trials of a search's table among which its winner is: those trained as long as the final model.

    Hyperband judges most trials after a few epochs, and what leads then need not lead at the end. Where none was
    trained in full, as only happens if the reference trial fails, all completed trials.
    """
    completed = trials[trials["status"] == "COMPLETED"]
    full = completed[completed["tuner_epochs"].isna()] if "tuner_epochs" in completed else completed
    return full if len(full) else completed


def trials_to_a_promotion(epochs: int) -> int:
    """How many trials Hyperband takes until it trains one in full besides the reference, if none fails."""
    oracle = keras_tuner.oracles.HyperbandOracle(objective=keras_tuner.Objective(OBJECTIVE, "max"), max_epochs=epochs)
    bracket = oracle._current_bracket
    return 2 + sum(oracle._get_size(bracket, number) for number in range(bracket))


def grid_size(space: keras_tuner.HyperParameters) -> int:
    """Points of the grid; KerasTuner tries ten values of a continuous hyperparameter."""
    return math.prod(len(_values(hp)) for hp in space.space)


def spread(space: keras_tuner.HyperParameters, trials: int, seed: int) -> list[dict[str, Any]]:
    """So many different points of a larger grid, the defaults first.

    KerasTuner walks a grid with the last hyperparameter fastest, so that a few trials would vary that one alone. Here
    every value of each hyperparameter comes about as often as any other (McKay et al., Technometrics 21, 1979).
    """
    rng = np.random.default_rng([seed, trials])
    points = [{hp.name: hp.default for hp in space.space}]
    while len(points) < trials:
        columns = {}
        for hp in space.space:
            values = _values(hp)
            rounds = -(-(trials - 1) // len(values))
            order = np.concatenate([rng.permutation(len(values)) for _ in range(rounds)])[: trials - 1]
            columns[hp.name] = [values[place] for place in rng.permutation(order)]
        for row in zip(*columns.values(), strict=True):
            point = dict(zip(columns, row, strict=True))
            if point not in points and len(points) < trials:
                points.append(point)
    return points


def _values(hp: Any) -> list[Any]:
    """As KerasTuner's grid has them."""
    values = list(hp.values)
    if isinstance(hp, keras_tuner.engine.hyperparameters.Float):
        values.sort()  # a set's order is no seed's
    return values if hp.default in values else [*values, hp.default]


def _oracle(tuner: str, space: keras_tuner.HyperParameters, trials: int, epochs: int, seed: int) -> keras_tuner.Oracle:
    common = {
        "objective": keras_tuner.Objective(OBJECTIVE, "max"),
        "hyperparameters": space,
        "seed": seed + 1,  # KerasTuner takes 0 for "any"
        "max_consecutive_failed_trials": trials + 1,
    }
    if tuner == "hyperband":
        oracle = keras_tuner.oracles.HyperbandOracle(max_epochs=epochs, **common)
        oracle.max_trials = trials
        return oracle
    if tuner == "bayesian":
        # KerasTuner's own default, three random trials a hyperparameter, would leave nothing for the model
        return keras_tuner.oracles.BayesianOptimizationOracle(
            max_trials=trials, num_initial_points=max(3, trials // 3), **common
        )
    kinds = {"random": keras_tuner.oracles.RandomSearchOracle, "grid": keras_tuner.oracles.GridSearchOracle}
    return kinds[tuner](max_trials=trials, **common)


def _begin_with(oracle: keras_tuner.Oracle, first: Sequence[Mapping[str, Any]]) -> None:
    """Makes the oracle propose these values first; KerasTuner has no such option."""
    propose = oracle.populate_space

    def populate_space(trial_id: str) -> dict[str, Any]:
        if len(oracle.trials) < len(first):
            return {"status": "RUNNING", "values": dict(first[len(oracle.trials)])}
        answer: dict[str, Any] = propose(trial_id)
        return answer

    oracle.populate_space = populate_space


def _stop_after(oracle: keras_tuner.Oracle, minutes: float, begun: int) -> None:
    """Makes the oracle propose nothing once the time is over; the first trial always runs, and those begun before."""
    propose, end = oracle.populate_space, time.monotonic() + 60 * minutes

    def populate_space(trial_id: str) -> dict[str, Any]:
        if len(oracle.trials) >= max(1, begun) and time.monotonic() > end:
            return {"status": "STOPPED", "values": None}
        answer: dict[str, Any] = propose(trial_id)
        return answer

    oracle.populate_space = populate_space


def _table(oracle: keras_tuner.Oracle, epochs: int) -> pd.DataFrame:
    rows = []
    for trial_id in oracle.start_order:
        trial = oracle.trials[trial_id]
        values = {k: v for k, v in trial.hyperparameters.values.items() if not k.startswith("tuner/")}
        asked = trial.hyperparameters.values.get("tuner/epochs", epochs)
        rows.append(
            {
                "number": int(trial_id),
                "status": str(trial.status),
                "objective": trial.score if trial.score is not None else float("nan"),
                "tuner_epochs": asked if asked < epochs else float("nan"),
                **values,
            }
        )
    return pd.DataFrame(rows)
