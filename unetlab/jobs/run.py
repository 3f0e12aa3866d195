"""The life of a run, top to bottom: data, check, split, search, final model, scores on test, register."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from rich.console import Console

from unetlab.data import Dataset, open_dataset
from unetlab.data.check import DataCard, check
from unetlab.data.split import Split, split, split_blocks, stack_of
from unetlab.errors import UserError
from unetlab.health import examine
from unetlab.health.finding import HealthFinding
from unetlab.jobs import cluster, resume, self_training, trial, worker
from unetlab.jobs.bench import Bench
from unetlab.jobs.check import refuse_unusable
from unetlab.jobs.configure import configure
from unetlab.jobs.early import refuse_numbers
from unetlab.jobs.final import finish, fit_final
from unetlab.jobs.known import refuse_unknown
from unetlab.jobs.progress import SearchProgress
from unetlab.jobs.recipe import of_classes, recipe_of, refuse_vanished, say_pointless
from unetlab.jobs.search import Found, search_recipe
from unetlab.jobs.sections import is_stack
from unetlab.labels import made
from unetlab.metrics import baselines, classes
from unetlab.models import NETWORKS
from unetlab.models.weights import resolve_weights
from unetlab.options import DEPENDENT, PLACES, Options
from unetlab.service.registry import register
from unetlab.setup import Recipe, Setup
from unetlab.tracking import outbox, ui, write
from unetlab.training import pace
from unetlab.training.memory import refuse_too_large

NOT_THE_PLAN = ("data", "register", "fresh", "stall", "twin_seed", *PLACES)
"""Options that leave it the same work."""

PART = ("showdown", "showdown_run", "part", "reproduction")
"""Tags that say what a run is a part of; of another whole it is other work."""


@dataclass(frozen=True)
class Summary:
    """What a run leaves: its id and experiment, the final model's id, and the figures logged."""

    run_id: str
    experiment_id: str
    model_id: str
    figures: Mapping[str, float]
    setup: str = ""
    against: str = "masks"

    def headline(self) -> str:
        """The result in one line."""
        found = self.figures
        v_rand = f"V_rand {found['test/native_v_rand']:.4f}, " if "test/native_v_rand" in found else ""
        ends = [found[key] for key in ("test/native_dice_low", "test/native_dice_high") if key in found]
        by = "" if self.against == "masks" else f" against {self.against}, which nobody drew,"
        interval = f"95 % {ends[0]:.4f} to {ends[1]:.4f}, " if ends else ""  # images of one scene have none
        return (
            f"{self.setup}: test Dice {found['test/native_dice']:.4f}{by} at native size ({interval}"
            f"{found['test/images']:.0f} images in {found.get('test/scenes', found['test/images']):.0f} scenes; "
            f"Otsu {found['baseline/otsu_native_dice']:.4f}), "
            f"{classes.spoken(found)}{v_rand}accuracy {found['test/accuracy']:.4f}"
        )


@resume.stoppable()
def run_setup(
    setup: Setup, options: Options, console: Console | None = None, own_tags: Mapping[str, str] = MappingProxyType({})
) -> Summary:
    """Runs a setup from images to a scored, and if asked registered, model; `own_tags` go to its run.

    Raises UserError for bad input before anything is trained, and if every trial failed; Stopped if the disk is full or
    the tracking server away.
    """
    console = console or Console(stderr=True)
    refuse_unknown(setup)
    refuse_numbers(setup, options)
    cluster.refuse_unreachable(options)

    # the encoder's weights; a frozen random encoder is worthless, so without weights it is trained
    weights = None if setup.adapts else resolve_weights(options.encoder_weights, setup)
    if options.made:
        setup = replace(setup, published={})  # those figures are of models that learnt given masks

    if options.trials > 1 and not cluster.is_wanted(options):
        worker.begin_early()

    # data -> check -> split
    images = look(setup, options, console, setup.adapts and not own_tags)  # setups that are compared share a split
    options = replace(options, split=images.split)
    if images.learnt.learnt_classes:
        setup = of_classes(setup, options, images.learnt, images.sides, console)

    told, minutes, configured, rounds = options, options.minutes, None, _rounds(options, images)
    if setup.adapts:
        configured = configure(setup, replace(options, rounds=rounds), images.learnt, images.card, images.sides)
        setup, options, weights = configured.setup, configured.options, configured.weights
        minutes = configured.minutes
        console.print(configured.table())
    recipe = recipe_of(setup, options, weights, images.learnt, images.sides)
    if not options.scheduler:  # whose workers have memory of their own
        refuse_too_large(NETWORKS[setup.network].build, recipe, options.precision)
    say_pointless(recipe, images.learnt, images.sides, console)
    refuse_vanished(recipe, images.learnt, images.sides, console)

    experiment_id = ui.open_experiment()
    outbox.sync()  # what an earlier run could not send
    trainings = options.trials + rounds + options.refit
    key = _plan(setup, recipe, replace(told, trials=options.trials), images.dataset, images.sides, own_tags)
    if own_tags and not options.fresh and (run := resume.finished_run(experiment_id, key)) is not None:
        console.print(f"{setup.name}: done before", highlight=False)
        return Summary(
            run.info.run_id,
            experiment_id,
            run.data.tags["final_model"],
            run.data.metrics,
            setup.name,
            run.data.tags.get("scored_against", "masks"),
        )
    precision, measured = _precision(setup, recipe, weights, options, experiment_id, key, console)
    with SearchProgress(trainings, console) as progress:
        bench = _bench(setup, options, images, precision, weights, progress, minutes)
        tags, name = {**own_tags, **measured, **_tags(bench, options)}, _name(setup, images.dataset, options)
        with resume.going_on(experiment_id, key, name, tags, asdict(told), options.fresh) as kept:
            bench = replace(bench, kept=kept)
            inputs = _log_data(bench, images.dataset, images.card)
            if configured is not None:
                write.log_table(configured.frame(), "configuration.csv")

            # search -> final -> scores on test, once
            found = Found(None, recipe, None) if options.trials == 1 else search_recipe(bench, recipe, options)
            final = fit_final(bench, found.recipe, rounds, found.best, options.refit)
            # a model that learnt the validation images too says nothing of what the search gained
            reference = None if options.refit else found.reference
            figures = finish(bench, final, reference, inputs["test"])
            outbox.sync()  # what a server that was away for a while still lacks of these trainings
            _end(kept.parent, {**figures, **setup.published_metrics()}, final, options, console)
            return Summary(kept.parent, experiment_id, str(final.model_id), figures, setup.name, bench.against)


@dataclass(frozen=True)
class Images:
    """What a run learns from: the data, what is known of them, the sides, the labels that are learnt and scored
    against, both the data's own unless labels are made, and how sides were made, as the option `split` has it."""

    dataset: Dataset
    card: DataCard
    sides: Split
    learnt: Dataset
    truth: Dataset
    split: str


def look(setup: Setup, options: Options, console: Console, by_itself: bool = False) -> Images:
    """Opens, checks and splits the images, `by_itself` one stack by blocks, and makes labels where none are to be
    learnt."""
    twin_seed = options.seed if options.twin_seed is None else options.twin_seed
    dataset = open_dataset(options.data, twin_seed, setup.twin, **options.reading())
    card = check(dataset, options.groups)
    console.print(card.table())
    refuse_unusable(card, dataset.has_masks, options.labels)
    if by_itself and is_stack(dataset, card):
        options = replace(options, split="blocks")
        console.print("sections of one stack: split in blocks of neighbours, with a gap between sides", highlight=False)
    sides = _split(dataset, card, options)
    learnt = made.made_labels(dataset, options.labels, console) if options.made else dataset
    return Images(dataset, card, sides, learnt, dataset if dataset.has_masks else learnt, options.split)


def _rounds(options: Options, images: Images) -> int:
    """Rounds of self-training: on made labels as asked for, on given ones where masks of several classes leave pixels
    unknown."""
    if images.learnt is not images.dataset:
        return options.rounds
    several = bool(options.rounds and images.learnt.learnt_classes)
    return options.rounds if several and self_training.has_unknown(images.learnt, images.sides.train) else 0


def _precision(
    setup: Setup,
    recipe: Recipe,
    weights: str | None,
    options: Options,
    experiment_id: str,
    key: str,
    console: Console,
) -> tuple[str, dict[str, str]]:
    """What is computed in, and the tag that says what that was decided by; what goes on keeps what it began with."""
    if options.precision == "auto" and not options.fresh:
        begun = resume.unfinished_run(experiment_id, key)
        if begun is not None and "precision" in begun.data.tags:
            return begun.data.tags["precision"], {}
    anew = options.fresh and (not setup.adapts or options.epochs > 0)  # where epochs were fitted it has been measured
    precision, found = pace.resolve(options.precision, setup.network, recipe, weights, anew)
    if found is None:
        return precision, {}
    console.print(f"precision: {precision} ({found.said()})", highlight=False)
    return precision, {"precision_measured": found.said()}


def _bench(
    setup: Setup,
    options: Options,
    images: Images,
    precision: str,
    weights: str | None,
    progress: SearchProgress,
    minutes: float,
) -> Bench:
    return Bench(
        setup,
        images.learnt,
        images.truth,
        images.sides,
        options.seed,
        precision,
        weights,
        options.models,
        progress,
        minutes,
        _rivals(images.learnt, images.sides, images.learnt is images.dataset),
        options.threshold,
        images.card.groups,  # neighbouring sections go as one, though blocks part them
        options.made,
        "masks" if not options.made or images.truth is not images.learnt else f"labels by {options.labels}",
        options.channels,
    )


def _end(run_id: str, figures: Mapping[str, float], final: trial.Outcome, options: Options, console: Console) -> None:
    """Logs what the whole came to, examines it, and registers the model where that was asked for."""
    known = mlflow.get_run(run_id).data.metrics  # of an attempt that was killed after this: not scored twice
    mlflow.log_metrics({name: value for name, value in figures.items() if known.get(name) != value})
    mlflow.log_params({f"best_{key}": value for key, value in final.served.flat().items()})
    assert final.model_id is not None  # the final model is always logged
    mlflow.set_tag("final_model", final.model_id)
    _say_health(examine.examine(run_id), console)
    if options.register:
        console.print(str(register(run_id)), highlight=False, markup=False)


def _plan(
    setup: Setup, recipe: Recipe, options: Options, dataset: Dataset, sides: Split, own_tags: Mapping[str, str]
) -> str:
    """What makes two runs the same work: where the images lie does not count, nor what is done with the model."""
    told = {name: value for name, value in asdict(options).items() if name not in NOT_THE_PLAN}
    if (options.trials > 1 or setup.adapts) and options.tuner in DEPENDENT and options.workers > 1:
        told["workers"] = options.workers  # other workers would be proposed other trials
    if dataset.learnt_classes:  # the model says their names
        told["classes"] = dataset.classes
    part = {name: own_tags[name] for name in PART if name in own_tags}
    return resume.plan_key(
        setup=setup.name, recipe=recipe.flat(), **told, images=dataset.digest, sides=sides.digest, part=part
    )


def _tags(bench: Bench, options: Options) -> dict[str, str]:
    """What a run says of itself: setup and data, and what was resolved of its options."""
    return {
        **bench.tags("search"),
        "encoder": _encoder_tag(bench.setup, bench.weights),
        "precision": bench.precision,
        "labels": options.labels,
        "scored_against": bench.against,
    }


def _split(dataset: Dataset, card: DataCard, options: Options) -> Split:
    if options.split != "blocks":
        return split(dataset.ids, card.groups, card.modality, seed=options.seed)
    copies: Sequence[Hashable] = dataset.sha
    if card.scenes.source == "auto":
        copies = card.scenes.copies([stack_of(id) for id in dataset.ids]).tolist()
    elif card.scenes.source == "off":
        copies = range(len(dataset))
    sides = split_blocks(dataset.ids, copies, seed=options.seed)
    _refuse_parted(card, sides)
    return sides


def _refuse_parted(card: DataCard, sides: Split) -> None:
    """Raises UserError for a group that somebody told and that blocks of sections part."""
    if card.scenes.source in ("auto", "off"):
        return
    seen: dict[int, int] = {}
    for number, rows in enumerate((sides.train, sides.validation, sides.test)):
        for row in rows:
            if seen.setdefault(int(card.groups[row]), number) != number:
                raise UserError(
                    f"split=blocks parts a group of {card.scenes.source}, since it keeps neighbouring sections "
                    "together and nothing else; give groups=auto, or split=random, which keeps groups whole"
                )


def _rivals(learnt: Dataset, sides: Split, given: bool) -> baselines.Rivals:
    """The rivals of a run, settled on what is learnt; without given masks Otsu's polarity is left to each image."""
    rows = baselines.few(sides.train)
    if learnt.learnt_classes:
        truths = (learnt.class_truth(i) for i in rows)
        return baselines.class_rivals((learnt.image(i) for i in rows), truths, learnt.classes, map(learnt.known, rows))
    constant = baselines.constant_answer(map(learnt.objects, rows), map(learnt.known, rows))
    if not given:
        return baselines.Rivals(constant=constant)
    polarity = baselines.otsu_polarity(*(map(each, rows) for each in (learnt.image, learnt.objects, learnt.known)))
    return baselines.Rivals(polarity, constant)


def _name(setup: Setup, dataset: Dataset, options: Options) -> str:
    labels = f" labels {options.labels}" if options.made else ""
    trials = f" {options.trials} trials {options.tuner}" if options.trials > 1 else ""
    epochs = f" {options.epochs} epochs" if options.epochs else ""
    return f"{setup.name} seed {options.seed} {dataset.name}{labels}{trials}{epochs}"


def _log_data(bench: Bench, dataset: Dataset, card: DataCard) -> Mapping[str, Any]:
    """Logs what the run learns from and is scored on; returns MLflow's description of each side."""
    mlflow.log_dict(card.to_json(), "data_card.json")
    write.log_table(_sides(dataset, bench), "split.csv")
    inputs = bench.inputs()
    if bench.kept.again and write.has_inputs(bench.kept.parent):  # an earlier attempt came this far
        return inputs
    if bench.dataset is not dataset:
        mlflow.log_metrics(self_training.label_figures(bench.dataset, dataset if dataset.has_masks else None))
    mlflow.log_inputs(list(inputs.values()), ["training", "validation", "testing"], [None] * len(inputs))
    return inputs


def _sides(dataset: Dataset, bench: Bench) -> pd.DataFrame:
    """Which image is on which side, its scene, and the hash of its pixels, by which `evaluate` and the gate know what
    a model has seen; images on no side are left out."""
    sides, scenes = bench.split, np.arange(len(dataset)) if bench.scenes is None else bench.scenes
    parts = {"train": sides.train, "validation": sides.validation, "test": sides.test}
    rows = [(dataset.ids[i], side, int(scenes[i]), dataset.sha[i]) for side, part in parts.items() for i in part]
    return pd.DataFrame(rows, columns=["id", "side", "group", "sha"])


def _say_health(findings: Sequence[HealthFinding], console: Console) -> None:
    for finding in findings:
        console.print(str(finding), highlight=False, markup=False)


def _encoder_tag(setup: Setup, weights: str | None) -> str:
    if not NETWORKS[setup.network].pretrained:
        return "none"
    return "random, trained" if weights is None else "imagenet" if weights == "imagenet" else "weights file"
