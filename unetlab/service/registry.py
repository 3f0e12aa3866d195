"""From a run to a registered model: a challenger that must beat the standing champion on the same test images."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from unetlab.errors import UserError
from unetlab.health import examine
from unetlab.health.checks import ACCURACY_ALONE
from unetlab.service import gate, pairing
from unetlab.service.loading import class_names, described
from unetlab.tracking import read, store

CHAMPION = "champion"
CHALLENGER = "challenger"
TAGS = ("setup", "dataset", "dataset_digest", "split_digest", "git_commit", "health", "scored_against")
SCORES = ("test/native_dice", "test/dice", "test/accuracy")

BARRED = ("H002", "H003", "H005")
"""Health codes of a model that is no better than what needs no training, or was tested on what it has seen: it becomes
champion on no account."""

MOST_CHAMPIONS = 3
"""That a challenger is compared with, one after the other, where another is named while it is."""

TRIED = "challengers"
"""Tag of a champion's version: how many challengers have been tested against it, and the ids of their models."""

MOST_TRIED = 100
"""Ids in that tag, the last ones: some stores take 5,000 letters."""


@dataclass(frozen=True)
class Decision:
    """What became of a registered model.

    Args:
        name: of the registered model.
        version: of it.
        promoted: whether it is champion now; else it stays challenger.
        reason: one line, with the figures.
        figures: of the comparison with the champion that stood: champion, metric, difference, low and high (but of one
            scene), p (of a difference of just the margin), level (that p must be below), attempt, images, scenes,
            margin; evaluation, the run that scored the champion anew, where there is one; empty where there was nothing
            to compare with.
        gate: "promoted", "refused", or "accepted" where a person took it without a test.
    """

    name: str
    version: str
    promoted: bool
    reason: str
    figures: Mapping[str, str]
    gate: str

    def __str__(self) -> str:
        alias = CHAMPION if self.promoted else CHALLENGER
        return f"{self.name} version {self.version} is {alias}: {self.reason}"


def register_run(run_id: str, margin: float = gate.MARGIN, accept: bool = False, reason: str = "") -> Decision:
    """Registers the final model of a finished setup run, as `register` does.

    Raises UserError if there is no such run, it has not finished, or has no final model.
    """
    run = _run(run_id)
    if run.info.status != "FINISHED":
        raise UserError(f"run {run_id} is {run.info.status.lower()}, not finished; give the id of a run that is")
    return register(run_id, margin, accept, reason)


def register(run_id: str, margin: float = gate.MARGIN, accept: bool = False, reason: str = "") -> Decision:
    """Registers a setup run's final model as a version of `unetlab-<setup>` and lets it challenge the champion.

    No model becomes champion, the first neither, whose run has one of the health codes BARRED: it is no better than one
    answer for all pixels, or than Otsu's threshold; and none by itself that was scored against labels that no person
    gave. Else it becomes champion if there is none, or if it is shown to be better than the standing one by more than
    `margin` on the same test images, as `gate.judge` says. Where the champion was tested on other images, it is scored
    on the challenger's first, less those it has seen (`pairing.pair`). Where another champion is named meanwhile, that
    one is to be beaten. Otherwise it stays challenger. Version tags and description keep the decision and its figures.
    The run may still be going on, so that it can register its own model. A server that was started for `@champion` goes
    on with the version it loaded until it is started again.

    Args:
        run_id: of the setup's run.
        margin: 0 to 1, what it has to be better by, of Dice or, for membranes, V_rand.
        accept: a person takes a mean difference above the margin for enough, and nothing where there is no difference
            to be had, without a test; the version says so.
        reason: why; written on the version.

    Raises UserError if there is no such run or it has no final model, for a margin below 0, and for `accept` without a
    reason or a reason without `accept`.
    """
    if margin < 0:
        raise UserError(f"margin must be 0 or more, in points of Dice from 0 to 1. Received: {margin}")
    if accept != bool(reason.strip()):
        raise UserError("accept=true wants a reason, and a reason accept=true; both are written on the version")
    run = _run(run_id)
    model_id = run.data.tags.get("final_model")
    if model_id is None or run.data.tags.get("role") == "evaluation":
        raise UserError(f"run {run_id} ({_role(run)}) has no final model; give the id of a setup's top-level run")
    client = MlflowClient()
    barred = _barred(run_id)
    name = f"unetlab-{run.data.tags['setup']}"
    _ensure(client, name)
    run = _run(run_id)  # its health is on it now
    created = client.create_model_version(
        name, source=f"models:/{model_id}", run_id=run_id, model_id=model_id, tags=_tags(run, model_id)
    )
    version = str(created.version)  # a number in some stores
    client.set_registered_model_alias(name, CHALLENGER, version)
    champion = _holder(client, name, CHAMPION)
    for _ in range(MOST_CHAMPIONS):
        decision = _decide(client, name, version, run, champion, margin, accept, barred)
        met, champion = champion, _holder(client, name, CHAMPION)  # a comparison may take minutes
        if _version_of(champion) == _version_of(met):
            break
    else:
        said = f"the champion changed {MOST_CHAMPIONS} times while it was compared; register it again"
        decision = Decision(name, version, False, said, {}, "refused")
    _record(client, run, decision, champion)
    if decision.gate == "accepted":
        client.set_model_version_tag(name, version, "gate/reason", reason.strip()[:500])
    return decision


UNTIL_RESTARTED = "a server that was started for @champion answers by the version it loaded until it is started again"


def rollback(name: str) -> str:
    """Gives the alias champion back to the version that had it before; returns one line that says so.

    Raises UserError if there is no such model, no champion, or none before it.
    """
    client = store.client()
    try:
        client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise UserError(f"the model registry does not answer: {str(error).splitlines()[0][:200]}") from error
        known = ", ".join(model.name for model in registered(client)) or "none"
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
    return f"{name}: champion is version {previous} again, version {champion.version} no longer; {UNTIL_RESTARTED}"


def registered(client: MlflowClient) -> list[RegisteredModel]:
    """The models that unetlab has registered, of all that a store holds."""
    found, token = list[RegisteredModel](), None
    while token != "":
        page = client.search_registered_models("name LIKE 'unetlab-%'", page_token=token)
        found, token = found + list(page), page.token or ""
    return found


def _barred(run_id: str) -> str:
    """Why a run's model may not become champion at all, "" where it may."""
    try:
        found = [each for each in examine.examine(run_id) if each.code in BARRED and each.title != ACCURACY_ALONE]
    except UserError as error:
        return f"{error}: without its scores nobody knows whether it is better than no model at all"
    texts = [f"{finding.code} {finding.title}: {finding.explanation}" for finding in found]
    return f"no model becomes champion with {' or '.join(BARRED)}, and it has {' '.join(texts)}" if texts else ""


def _against_made_labels(run: Run) -> str:
    """Why a person has to decide on a model that was tested on labels which were made; "" where they were given."""
    against = run.data.tags.get("scored_against", "masks")
    if against == "masks":
        return ""
    said = f"it was scored against {against}, which says how well it imitates them and not how right it is"
    return f"{said}; accept=true with a reason lets a person decide"


def _decide(
    client: MlflowClient,
    name: str,
    version: str,
    run: Run,
    champion: ModelVersion | None,
    margin: float,
    accept: bool,
    barred: str,
) -> Decision:
    """What becomes of a version with that champion standing; `barred` as `_barred` says it."""
    made = _against_made_labels(run)
    if barred or (made and not accept):
        return Decision(name, version, False, barred or made, {}, "refused")
    if made and champion is None:
        return Decision(name, version, True, f"accepted by a person: {made.partition(';')[0]}", {}, "accepted")
    if champion is None:
        return Decision(name, version, True, "there was no champion", {}, "promoted")
    if champion.source == f"models:/{run.data.tags['final_model']}":  # it spends no attempt of those who come later
        itself = f"it is version {champion.version}, the champion, itself"
        return Decision(name, version, False, itself, {"champion": str(champion.version)}, "refused")
    decision = _compare(client, name, version, run.info.run_id, champion, margin, accept)
    if made and decision.promoted:  # which it is by a person's word alone
        said = f"accepted by a person: {made.partition(';')[0]}; it is {decision.reason}"
        return replace(decision, reason=said, gate="accepted")
    return decision


def _compare(
    client: MlflowClient,
    name: str,
    version: str,
    run_id: str,
    champion: ModelVersion,
    margin: float,
    accept: bool,
) -> Decision:
    standing = f"version {champion.version}"
    try:
        challenger = read.find_one(run_id)
        pair = pairing.pair(challenger, name, champion)
    except UserError as error:
        said, word = (f"accepted by a person: {error}", "accepted") if accept else (str(error), "refused")
        return Decision(name, version, accept, said, {"champion": str(champion.version)}, word)
    attempt = _attempt(client, name, str(champion.version), challenger.tags["final_model"])
    found = gate.judge(pair.differences, pair.scenes, margin, attempt)
    known = math.isfinite(found.low)  # images of one scene have no interval
    figures = {
        "champion": str(champion.version),
        "metric": pair.metric,
        "difference": f"{found.mean:+.4f}",
        **({"low": f"{found.low:+.4f}", "high": f"{found.high:+.4f}"} if known else {}),
        "p": f"{found.p:.4f}",
        "level": f"{found.level:.4g}",
        "attempt": str(attempt),
        "images": str(found.images),
        "scenes": str(found.scenes),
        "margin": f"{margin:g}",
        **({"evaluation": pair.evaluation} if pair.evaluation else {}),
    }
    accepted = accept and not found.better and found.mean > margin
    interval = f"95 % {found.low:+.4f} to {found.high:+.4f}, " if known else ""
    verdict = "better than" if found.better else "not shown to be better than"
    reason = (
        f"{verdict} {standing} by more than {margin:g}: {gate.WORDS[pair.metric]} {found.mean:+.4f} "
        f"({interval}p {found.p:.4f} where challenger {attempt} needs less than "
        f"{found.level:.3g}) on {found.images} test images of {found.scenes} scenes{pair.note}"
        f"{'' if found.better else _way_out(found, accept, margin)}"
    )
    if accepted:
        return Decision(name, version, True, f"accepted by a person, {reason}", figures, "accepted")
    return Decision(name, version, found.better, reason, figures, "promoted" if found.better else "refused")


def _attempt(client: MlflowClient, name: str, champion: str, model_id: str) -> int:
    """Which challenger of a champion's version a model is, from 1, noted on that version: one that is tried again keeps
    its number, and with it its level. Older versions of unetlab noted how many there were and nothing else."""
    count, *models = client.get_model_version(name, champion).tags.get(TRIED, "0").split()
    if model_id in models:
        return int(count) - len(models) + models.index(model_id) + 1
    tried = [str(int(count) + 1), *[*models, model_id][-MOST_TRIED:]]
    client.set_model_version_tag(name, champion, TRIED, " ".join(tried))
    return int(count) + 1


def _way_out(found: gate.Verdict, accept: bool, margin: float) -> str:
    """What it would take, and what a person can do."""
    if accept:
        return "" if found.mean > margin else f"; it is not accepted either, since its mean is not above {margin:g}"
    if not found.possible:
        least = 2.0 ** (1 - found.scenes)
        said = f"; with {found.scenes} scenes p cannot fall below {least:.3g}, {found.needed} would allow a verdict"
    elif found.sample:
        said = f"; about {found.sample} scenes would show a difference of this size four times in five"
    else:
        return ""
    return said + ("; accept=true with a reason lets a person decide" if found.mean > margin else "")


def _record(client: MlflowClient, run: Run, decision: Decision, champion: ModelVersion | None) -> None:
    """Moves the aliases and writes the decision to the version, and to the champion it replaces."""
    name, version = decision.name, decision.version
    if decision.promoted:
        if champion is not None:
            client.set_model_version_tag(name, version, "previous_champion", str(champion.version))
            client.set_model_version_tag(name, champion.version, "replaced_by", version)
        client.set_registered_model_alias(name, CHAMPION, version)
        client.delete_registered_model_alias(name, CHALLENGER)
    client.set_model_version_tag(name, version, "gate", decision.gate)
    for key, value in decision.figures.items():
        client.set_model_version_tag(name, version, f"gate/{key}", value)
    client.update_model_version(
        name,
        version,
        f"{_describe(run.data.metrics)}\n\n{decision.gate.capitalize()}: {decision.reason.rstrip('.')}.",
    )


def _holder(client: MlflowClient, name: str, alias: str) -> ModelVersion | None:
    try:
        return client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        return None


def _version_of(champion: ModelVersion | None) -> str:
    return "" if champion is None else str(champion.version)


def _run(run_id: str) -> Run:
    try:
        return store.client().get_run(run_id)
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


def _tags(run: Run, model_id: str) -> dict[str, str]:
    """What a version says of itself without a look at its run: run, data, split, commit, test scores, classes."""
    kept = {tag: run.data.tags[tag] for tag in TAGS if tag in run.data.tags}
    scores = {key: f"{run.data.metrics[key]:.4f}" for key in SCORES if key in run.data.metrics}
    classes = class_names(described(f"models:/{model_id}"))
    return {"run_id": run.info.run_id, **kept, **scores, **({"classes": ", ".join(classes)} if classes else {})}


def _describe(metrics: Mapping[str, float]) -> str:
    ends = [metrics[key] for key in ("test/native_dice_low", "test/native_dice_high") if key in metrics]
    interval = f"95 % {ends[0]:.4f} to {ends[1]:.4f}, " if ends else ""
    return (
        f"Test Dice {metrics.get('test/native_dice', float('nan')):.4f} at native size "
        f"({interval}{metrics.get('test/images', 0):.0f} images)."
    )
