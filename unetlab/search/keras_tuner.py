"""The search: KerasTuner proposes hyperparameters, a function scores them. It knows nothing of U-Nets."""

import contextlib
import logging
import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

import keras_tuner
import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning

from unetlab.errors import Stopped
from unetlab.options import DEPENDENT
from unetlab.search.hyperband import Hyperband
from unetlab.search.rung import Rung, rung_of

log = logging.getLogger(__name__)

OBJECTIVE = "objective"

Evaluate = Callable[[int, Mapping[str, Any], Rung | None], float]
"""(trial number, hyperparameters, Hyperband's rung or None for a whole training) -> objective, higher is better."""


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
    at_once: int = 1,
) -> pd.DataFrame:
    """Runs `trials` trials, the first with the space's defaults; a trial that raises is FAILED and the search goes on.

    What "bayesian" and "hyperband" propose depends on what they were told before. They are told in the order of the
    numbers, and asked for trial k when exactly the trials up to k - at_once are told: so what they propose depends on
    the seed, the scores and `at_once`, and not on which trial was faster. "random" and "grid" depend on neither.

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
        at_once: trials that are evaluated at a time, each in a thread; a single one in the caller's.

    Returns:
        One row a trial: number, status ("COMPLETED" or "FAILED"), objective (NaN if failed), tuner_epochs (NaN: all,
        as long as the final training), and a column for each hyperparameter.
    """
    oracle = _oracle(tuner, space, trials, epochs, seed)
    if tuner == "grid":
        whole = grid_size(space) <= trials
        points = _walked(_oracle(tuner, space, trials, epochs, seed)) if whole else spread(space, trials, seed)
        _propose(oracle, points, lambda _: {"status": "STOPPED", "values": None})
    else:
        _propose(oracle, [{hp.name: hp.default for hp in space.space}], oracle.populate_space)
    if minutes:
        _stop_after(oracle, minutes, begun)
    with warnings.catch_warnings():
        # the few points of a young search leave the Gaussian process of "bayesian" at its bounds
        warnings.simplefilter("ignore", ConvergenceWarning)
        _run(oracle, evaluate, at_once, in_order=tuner in DEPENDENT)
    return _table(oracle, epochs)


def _run(oracle: keras_tuner.Oracle, evaluate: Evaluate, at_once: int, in_order: bool) -> None:
    """Asks and tells the oracle until it proposes nothing more.

    KerasTuner's own way to several workers is a chief that waits for ever for a worker that died.
    """
    running: dict[Future[float], Any] = {}
    pool = ThreadPoolExecutor(at_once, thread_name_prefix="trial") if at_once > 1 else None
    over = False
    try:
        while True:
            if not over and len(running) < at_once:
                trial = oracle.create_trial(str(len(oracle.trials)))  # a tuner's name; each has one trial
                over = trial.status == "STOPPED"
                if trial.status == "RUNNING":
                    running[_begin(pool, evaluate, trial)] = trial
                    continue
            if not running:
                return
            done = next(iter(running)) if in_order else wait(running, return_when=FIRST_COMPLETED).done.pop()
            _tell(oracle, running.pop(done), done)
    finally:
        if pool is not None:  # where the search ends early, whoever evaluates has to let the others go
            pool.shutdown(wait=False, cancel_futures=True)


def _begin(pool: ThreadPoolExecutor | None, evaluate: Evaluate, trial: Any) -> "Future[float]":
    values = dict(trial.hyperparameters.values)
    own = {name: value for name, value in values.items() if not name.startswith("tuner/")}
    told = (int(trial.trial_id), own, rung_of(values))
    if pool is not None:
        return pool.submit(evaluate, *told)
    done: Future[float] = Future()
    try:
        done.set_result(evaluate(*told))
    except Exception as error:
        done.set_exception(error)
    return done


def _tell(oracle: keras_tuner.Oracle, trial: Any, done: "Future[float]") -> None:
    """Raises Stopped, which is no fault of the trial: the search ends, and can go on later."""
    try:
        oracle.update_trial(trial.trial_id, {OBJECTIVE: done.result()})
        trial.status = "COMPLETED"  # unless it is NaN
    except Stopped:
        raise
    except Exception as error:
        log.warning("trial %s failed: %s", trial.trial_id, error)
        trial.status = "FAILED"
    oracle.end_trial(trial)


def trials_to_a_promotion(epochs: int, at_once: int = 1) -> int:
    """How many trials Hyperband takes until it trains one in full besides the reference, if none fails."""
    space, seen = keras_tuner.HyperParameters(), []
    space.Float("x", 0.0, 1.0)

    def evaluate(number: int, _: Mapping[str, Any], rung: Rung | None) -> float:
        if rung is not None and rung.epochs == epochs:
            seen.append(number + 1)
            raise Stopped("one is enough")
        return 0.0

    with contextlib.suppress(Stopped):
        search(space, evaluate, tuner="hyperband", trials=10**6, epochs=epochs, seed=0, at_once=at_once)
    return min(seen)


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
        "hyperparameters": space.copy(),
        "seed": _far_apart(seed),
        "max_consecutive_failed_trials": trials + 1,
        "max_trials": trials,
    }
    if tuner == "hyperband":
        del common["max_trials"]
        oracle = Hyperband(max_epochs=epochs, **common)
        oracle.max_trials = trials
    elif tuner == "bayesian":
        # KerasTuner's own default, three random trials a hyperparameter, would leave nothing for the model
        oracle = keras_tuner.oracles.BayesianOptimizationOracle(num_initial_points=max(3, trials // 3), **common)
    else:
        kinds = {"random": keras_tuner.oracles.RandomSearchOracle, "grid": keras_tuner.oracles.GridSearchOracle}
        oracle = kinds[tuner](**common)
    oracle.verbose = 0
    oracle.save = oracle._save_trial = lambda *_: None  # no file could tear: a search goes on by being asked again
    return oracle


def _far_apart(seed: int) -> int:
    """A seed for KerasTuner, not 0, which is "any" to it. It draws each hyperparameter by the next seed, so that
    searches of neighbouring seeds would propose each other's points."""
    return int(np.random.SeedSequence(seed).generate_state(1)[0]) % 2**31 + 1


def _propose(oracle: keras_tuner.Oracle, first: Sequence[Mapping[str, Any]], then: Callable[[str], Any]) -> None:
    """Makes the oracle propose these values first; KerasTuner has no such option."""

    def populate_space(trial_id: str) -> dict[str, Any]:
        if len(oracle.trials) < len(first):
            return {"status": "RUNNING", "values": dict(first[len(oracle.trials)])}
        answer: dict[str, Any] = then(trial_id)
        return answer

    oracle.populate_space = populate_space


def _walked(oracle: keras_tuner.Oracle) -> list[dict[str, Any]]:
    """All points of a grid in KerasTuner's order, which proposes the next only once the last has ended."""
    points = []
    while (trial := oracle.create_trial("0")).status == "RUNNING":
        points.append(dict(trial.hyperparameters.values))
        trial.status = "FAILED"
        oracle.end_trial(trial)
    return points


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
