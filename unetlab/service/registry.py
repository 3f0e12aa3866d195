"""From a run to a registered model: a challenger that must beat the standing champion on the same test images."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from unetlab.errors import UserError
from unetlab.metrics import significance
from unetlab.tracking import read

CHAMPION = "champion"
CHALLENGER = "challenger"
LEVEL = 0.05
TAGS = ("setup", "dataset", "dataset_digest", "split_digest", "git_commit")
SCORES = ("test/native_dice", "test/dice", "test/accuracy")


@dataclass(frozen=True)
class Decision:
    """What became of a registered model.

    Args:
        name: of the registered model.
        version: of it.
        promoted: whether it is champion now; else it stays challenger.
        reason: one line, with the figures.
        figures: of the comparison with the champion that stood: champion, difference, low, high, p (of a difference
            of just the margin), images, margin; empty where there was none to compare with.
    """

    name: str
    version: str
    promoted: bool
    reason: str
    figures: Mapping[str, str]

    def __str__(self) -> str:
        alias = CHAMPION if self.promoted else CHALLENGER
        return f"{self.name} version {self.version} is {alias}: {self.reason}"


def register_run(run_id: str, margin: float = 0.0) -> Decision:
    """Registers the final model of a finished setup run, as `register` does.

    Raises UserError if there is no such run, it has not finished, or has no final model.
    """
    run = _run(run_id)
    if run.info.status != "FINISHED":
        raise UserError(f"run {run_id} is {run.info.status.lower()}, not finished; give the id of a run that is")
    return register(run_id, margin)


def register(run_id: str, margin: float = 0.0) -> Decision:
    """Registers a setup run's final model as a version of `unetlab-<setup>` and lets it challenge the champion.

    It becomes champion if there is none, or if it is better than the standing one on the same test images by more
    than `margin` of Dice at native size: the 95 % bootstrap interval of the paired difference lies above it, and the
    permutation test of a difference of just the margin says no (p below 0.05; 2.5 % of models that are no better pass
    both). Otherwise it stays challenger. Version tags and description keep the decision and its figures. The run may
    still be going on, so that it can register its own model. A server that was started for `@champion` goes on with
    the version it loaded until it is started again.

    Raises UserError if there is no such run or it has no final model, and for a margin below 0.
    """
    if margin < 0:
        raise UserError(f"margin must be 0 or more, in points of Dice from 0 to 1. Received: {margin}")
    run = _run(run_id)
    model_id = run.data.tags.get("final_model")
    if model_id is None:
        raise UserError(f"run {run_id} ({_role(run)}) has no final model; give the id of a setup's top-level run")
    client = MlflowClient()
    name = f"unetlab-{run.data.tags['setup']}"
    _ensure(client, name)
    champion = _holder(client, name, CHAMPION)
    created = client.create_model_version(
        name, source=f"models:/{model_id}", run_id=run_id, model_id=model_id, tags=_tags(run)
    )
    version = str(created.version)  # a number in some stores
    client.set_registered_model_alias(name, CHALLENGER, version)
    decision = _decide(name, version, run_id, champion, margin)
    _record(client, run, decision, champion)
    return decision


def rollback(name: str) -> str:
    """Gives the alias champion back to the version that had it before; returns one line that says so.

    Raises UserError if there is no such model, no champion, or none before it.
    """
    client = MlflowClient()
    try:
        client.get_registered_model(name)
    except MlflowException as error:
        known = ", ".join(model.name for model in client.search_registered_models()) or "none"
        raise UserError(f"no registered model {name!r}; there are: {known}") from error
    champion = _holder(client, name, CHAMPION)
    previous = champion.tags.get("previous_champion") if champion else None
    if champion is None or previous is None:
        raise UserError(f"{name} has no champion before this one, so there is nothing to go back to")
    try:
        client.set_registered_model_alias(name, CHAMPION, previous)
    except MlflowException as error:
        raise UserError(f"{name} version {previous}, champion before version {champion.version}, is gone") from error
    client.delete_model_version_tag(name, previous, "replaced_by")
    client.set_model_version_tag(name, champion.version, "rolled_back", f"to version {previous}")
    return f"{name}: champion is version {previous} again, version {champion.version} no longer"


def _decide(name: str, version: str, run_id: str, champion: ModelVersion | None, margin: float) -> Decision:
    if champion is None:
        return Decision(name, version, True, "there was no champion", {})
    standing = f"version {champion.version}"
    try:
        differences = _differences(run_id, champion)
    except UserError as error:
        return Decision(name, version, False, str(error), {"champion": str(champion.version)})
    found = significance.paired(differences[None])
    mean, low, high = (float(values[0]) for values in (found.mean, found.low, found.high))
    # the interval alone is short of 95 % where images are few; the flips are not
    p = float(significance.sign_flip_test(differences[None] - margin)[0])
    promoted = low > margin and p < LEVEL
    figures = {
        "champion": str(champion.version),
        "difference": f"{mean:+.4f}",
        "low": f"{low:+.4f}",
        "high": f"{high:+.4f}",
        "p": f"{p:.4f}",
        "images": str(len(differences)),
        "margin": f"{margin:g}",
    }
    verdict = "better than" if promoted else "not shown to be better than"
    reason = (
        f"{verdict} {standing} by more than {margin:g}: Dice {mean:+.4f} (95 % {low:+.4f} to {high:+.4f}, p {p:.4f}) "
        f"on the same {len(differences)} test images"
    )
    return Decision(name, version, promoted, reason, figures)


def _differences(run_id: str, champion: ModelVersion) -> np.ndarray:
    """The run's Dice minus the champion's, float64 (images,).

    Raises UserError, which says why, where the two have no scores of the same images.
    """
    standing = f"version {champion.version}"
    own, other = read.find_one(run_id), read.find_one(str(champion.run_id))
    for key, what in (("dataset_digest", "data"), ("split_digest", "split")):
        if own.tags.get(key) != other.tags.get(key):
            raise UserError(
                f"its {what} ({own.tags.get(key)}) is not that of the champion, {standing} ({other.tags.get(key)}), "
                "so their test scores cannot be compared; score both on one split"
            )
    ids, scores = read.score_arrays([own, other], ["native_dice"])
    if "native_dice" not in scores:
        raise UserError(f"it or the champion, {standing}, has no Dice at native size for each test image; run it again")
    if len(ids) < 2:
        raise UserError(f"{len(ids)} test image says nothing")
    own_dice, other_dice = scores["native_dice"]
    return np.asarray(own_dice - other_dice)


def _record(client: MlflowClient, run: Run, decision: Decision, champion: ModelVersion | None) -> None:
    """Moves the aliases and writes the decision to the version, and to the champion it replaces."""
    name, version = decision.name, decision.version
    if decision.promoted:
        if champion is not None:
            client.set_model_version_tag(name, version, "previous_champion", str(champion.version))
            client.set_model_version_tag(name, champion.version, "replaced_by", version)
        client.set_registered_model_alias(name, CHAMPION, version)
        client.delete_registered_model_alias(name, CHALLENGER)
    client.set_model_version_tag(name, version, "gate", "promoted" if decision.promoted else "refused")
    for key, value in decision.figures.items():
        client.set_model_version_tag(name, version, f"gate/{key}", value)
    client.update_model_version(
        name,
        version,
        f"{_describe(run.data.metrics)}\n\n{'Promoted' if decision.promoted else 'Refused'}: {decision.reason}.",
    )


def _holder(client: MlflowClient, name: str, alias: str) -> ModelVersion | None:
    try:
        return client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        return None


def _run(run_id: str) -> Run:
    try:
        return MlflowClient().get_run(run_id)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise UserError(f"no run {run_id} in this tracking store; `make ui` lists the runs") from error
        reason = str(error).splitlines()[0][:200]
        raise UserError(
            f"the tracking store does not answer: {reason}; start it, or set MLFLOW_TRACKING_URI"
        ) from error


def _role(run: Run) -> str:
    role = f"role {run.data.tags.get('role', 'unknown')}"
    parent = run.data.tags.get("mlflow.parentRunId")
    return role if parent is None else f"{role}, child of run {parent}"


def _ensure(client: MlflowClient, name: str) -> None:
    try:
        client.create_registered_model(name, description="Segmentation models of unetlab; `champion` is in service.")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _tags(run: Run) -> dict[str, str]:
    """What a version says of itself without a look at its run: run, data, split, commit, test scores."""
    kept = {tag: run.data.tags[tag] for tag in TAGS if tag in run.data.tags}
    scores = {key: f"{run.data.metrics[key]:.4f}" for key in SCORES if key in run.data.metrics}
    return {"run_id": run.info.run_id, **kept, **scores}


def _describe(metrics: Mapping[str, float]) -> str:
    return (
        f"Test Dice {metrics.get('test/native_dice', float('nan')):.4f} at native size "
        f"(95 % {metrics.get('test/native_dice_low', float('nan')):.4f} to "
        f"{metrics.get('test/native_dice_high', float('nan')):.4f}, {metrics.get('test/images', 0):.0f} images)."
    )
