"""A look at the data before anything is trained: what there is, what is odd, what must not be split apart."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from rich.markup import escape
from rich.table import Table

from unetlab.data import Dataset, cache
from unetlab.data.classes import UNKNOWN
from unetlab.data.scenes import Scenes, scenes_of
from unetlab.data.split import split
from unetlab.images.regions import flat

SPLITS = 20
"""Seeds over which the leak of a split without scenes is averaged."""

LEAST = 6
"""With fewer test scenes no difference passes a sign-flip test at 5 %, however large: 2 / 2**5 is 0.06."""

UNLABELLED = "D015"
"""Code of the finding that masks say nothing at all."""

SMALL = 20
"""Fewer images than this give intervals too wide to tell models apart."""


@dataclass(frozen=True)
class Finding:
    """Something to know about a data set.

    Args:
        code: "D...".
        severity: "error" (training is refused), "warning" or "notice".
        message: what was found, with counts and examples.
        remedy: what to do.
    """

    code: str
    severity: str
    message: str
    remedy: str


@dataclass(frozen=True)
class DataCard:
    """What a data set holds.

    Args:
        name: of the data set.
        digest: of its content.
        images: how many.
        sizes: "height x width" to count.
        modes: stored mode to count.
        modalities: modality to count.
        foreground: mean, smallest and largest share of foreground pixels; empty without masks.
        objects: mean, smallest and largest number of objects an image; empty without masks.
        masks: what the values of masks mean, and how that was decided; empty without masks.
        classes: name to its share of all pixels, where masks have several classes.
        modality: one word an image, for a stratified split.
        scenes: which images show the same thing.
        leaked: share of test images with a scene-mate in train or validation, were scenes not kept together.
        findings: what is odd.
    """

    name: str
    digest: str
    images: int
    sizes: dict[str, int]
    modes: dict[str, int]
    modalities: dict[str, int]
    foreground: tuple[float, ...]
    objects: tuple[float, ...]
    masks: str
    classes: dict[str, float]
    modality: tuple[str, ...]
    scenes: Scenes
    leaked: float
    findings: tuple[Finding, ...]

    @property
    def groups(self) -> np.ndarray:
        """int (n,): the scene of each image."""
        return self.scenes.scene

    def to_json(self) -> dict[str, Any]:
        """Everything but the per-image columns, for an artifact; of scenes, how many images each has."""
        card = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "modality"}
        sizes = sorted(map(int, np.bincount(self.groups)), reverse=True)
        joined = Counter(pair.kind for pair in self.scenes.joined)
        card["scenes"] = {"count": len(sizes), "sizes": sizes, "from": self.scenes.source, "joined": dict(joined)}
        card["findings"] = [asdict(finding) for finding in self.findings]
        return card

    def table(self) -> Table:
        """For the terminal."""
        table = Table(title=escape(f"{self.name}: {self.images} images"), show_header=False, title_justify="left")
        table.add_row("digest", self.digest)
        for name, counts in (("sizes", self.sizes), ("stored as", self.modes), ("modality", self.modalities)):
            table.add_row(name, _counts(counts))
        if self.foreground:
            table.add_row("foreground", "mean {:.1%}, {:.1%} to {:.1%} an image".format(*self.foreground))
            table.add_row("objects", "mean {:.1f}, {:.0f} to {:.0f} an image".format(*self.objects))
            table.add_row("masks", self.masks)
        if self.classes:
            table.add_row("classes", escape(", ".join(f"{name}: {share:.2%}" for name, share in self.classes.items())))
        table.add_row("scenes", escape(self._scenes()))
        for finding in self.findings:
            style = {"error": "bold red", "warning": "yellow", "notice": ""}[finding.severity]
            table.add_row(
                f"{finding.code} {finding.severity}",
                escape(f"{finding.message}; {finding.remedy}"),
                style=style,
                end_section=True,
            )
        return table

    def _scenes(self) -> str:
        sizes = np.sort(np.bincount(self.groups))[::-1]
        largest = ", ".join(map(str, sizes[:5])) + (", ..." if len(sizes) > 5 else "")
        leaked = f"a split of single images would show {self.leaked:.0%} of the test images' scenes to training"
        return f"{len(sizes)} ({self.scenes.source}), images each: {largest}; {leaked}"


def _counts(counts: dict[str, int], most: int = 6) -> str:
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    rest = f" and {len(ordered) - most} more" if len(ordered) > most else ""
    return ", ".join(f"{name}: {count}" for name, count in ordered[:most]) + rest


def check(dataset: Dataset, groups: str = "auto") -> DataCard:
    """Looks at every image; a second call on the same content reads the answer from the cache.

    `groups` says where scenes come from, as `scenes_of` takes it and refuses it.
    """
    scenes = scenes_of(dataset, groups)
    path = dataset.folder / "check-5.json"
    if path.exists():
        stored = json.loads(path.read_text())
    else:
        stored = _measure(dataset)
        cache.write_text(path, json.dumps(stored))
    shares, objects = np.array(stored["foreground"]), np.array(stored["objects"])
    tested = _tested(dataset, scenes, stored["modality"])
    return DataCard(
        name=dataset.name,
        digest=dataset.digest,
        images=len(dataset),
        sizes=dict(Counter(f"{height} x {width}" for height, width in dataset.sizes)),
        modes=dict(Counter(dataset.modes)),
        modalities=dict(Counter(stored["modality"])),
        foreground=_spread(shares) if dataset.has_masks else (),
        objects=_spread(objects) if dataset.has_masks else (),
        masks=f"{dataset.meaning}: {dataset.why}" if dataset.has_masks else "",
        classes=dict(zip(dataset.classes, stored["classes"], strict=True)) if stored["classes"] else {},
        modality=tuple(stored["modality"]),
        scenes=scenes,
        leaked=leaked_share(dataset, scenes, stored["modality"]),
        findings=tuple(_findings(dataset, scenes, stored, tested)),
    )


def _spread(values: np.ndarray) -> tuple[float, float, float]:
    return float(values.mean()), float(values.min()), float(values.max())


def _measure(dataset: Dataset) -> dict[str, Any]:
    found: dict[str, Any] = {"modality": [], "flat": [], "foreground": [], "objects": [], "known": []}
    pixels = np.zeros(len(dataset.classes))
    for i in range(len(dataset)):  # one by one: all of them need not fit into memory
        image, labels = dataset.image(i), dataset.objects(i)
        found["modality"].append(_modality(image))
        found["flat"].append(bool(flat(image)))
        found["foreground"].append(float((labels > 0).mean()))
        found["known"].append(bool(dataset.known(i).any()))
        found["objects"].append(int(np.count_nonzero(np.bincount(labels.ravel())[1:])))
        if dataset.meaning == "classes":
            pixels += np.bincount(dataset.class_map(i).ravel(), minlength=UNKNOWN + 1)[: len(pixels)]
    found["classes"] = (pixels / pixels.sum()).tolist() if pixels.any() else []
    return found


def _modality(image: np.ndarray) -> str:
    """Colour or grey, on a dark or a light ground: the kinds that nuclei images come in."""
    light = "light" if np.median(image) >= 128 else "dark"
    return f"{'grey' if image.shape[2] == 1 else 'colour'} on {light}"


def leaked_share(dataset: Dataset, scenes: Scenes, modality: Sequence[str]) -> float:
    """Share of test images with a scene-mate in train or validation, were images split without a look at scenes.

    The mean over SPLITS seeds; 0 where there are too few images to split.
    """
    n = len(dataset)
    if n < 3:
        return 0.0
    shares = []
    for seed in range(SPLITS):
        test = np.zeros(n, bool)
        test[split(dataset.ids, np.arange(n), modality, seed).test] = True
        shares.append(float(np.isin(scenes.scene[test], scenes.scene[~test]).mean()))
    return float(np.mean(shares))


def _tested(dataset: Dataset, scenes: Scenes, modality: Sequence[str]) -> int:
    """Scenes on the test side of a split by seed 0; 0 where there are too few to split."""
    if len(np.unique(scenes.scene)) < 3:
        return 0
    return len(np.unique(scenes.scene[split(dataset.ids, scenes.scene, modality, 0).test]))


def _findings(dataset: Dataset, scenes: Scenes, measured: dict[str, Any], tested: int) -> list[Finding]:
    found, flat = [], np.array(measured["flat"])

    def add(code: str, severity: str, message: str, remedy: str) -> None:
        found.append(Finding(code, severity, message, remedy))

    def some(rows: np.ndarray) -> str:
        shown = ", ".join(dataset.ids[i][:40] for i in rows[:3])
        return shown + (f" and {len(rows) - 3} more" if len(rows) > 3 else "")

    n = len(dataset)
    exact = n - len(set(dataset.sha))
    if dataset.unusable:
        count, shown = len(dataset.unusable), "; ".join(dataset.unusable[:3])
        files = f"{count} file{'s' * (count > 1)} cannot be used: {shown}" + ("; ..." if count > 3 else "")
        add("D011", "error", files, "mend or remove them; what stands here is of the others")
    if n < 3:
        add("D001", "error", f"{n} image{'s' * (n > 1)} cannot be split", "give at least 3 different images")
    elif n < SMALL:
        add("D002", "warning", f"only {n} images", f"fewer than {SMALL} give intervals too wide to tell models apart")
    if exact:
        _, content, times = np.unique(np.asarray(dataset.sha), return_inverse=True, return_counts=True)
        apart = len(np.unique(np.stack([content, scenes.scene]), axis=1)[0]) > len(times)
        remedy = f"groups={scenes.source} lets them part" if apart else "they stay on one side of the split"
        add("D003", "warning", f"{exact} exact copies ({some(np.flatnonzero(times[content] > 1))})", remedy)
    sizes = np.bincount(scenes.scene)
    if shared := int((sizes > 1).sum()):
        row = np.flatnonzero(scenes.scene == sizes.argmax())
        text = f"{shared} scenes of several images hold {sizes[sizes > 1].sum()} images, the largest {sizes.max()}"
        add("D004", "notice", f"{text} ({some(row)})", "each stays on one side of the split")
    if 0 < tested < LEAST and len(sizes) < n:
        text = f"{len(sizes)} scenes leave {tested} for the test split"
        add(
            "D012",
            "warning",
            text,
            f"no test tells models apart on fewer than {LEAST}; give more scenes, or groups=FILE",
        )
    if flat.any():
        add("D005", "warning", f"{flat.sum()} images of one flat colour ({some(np.flatnonzero(flat))})", "look at them")
    return [*found, *_mask_findings(dataset, np.array(measured["foreground"]), np.array(measured["known"]), some)]


def _mask_findings(
    dataset: Dataset, shares: np.ndarray, known: np.ndarray, some: Callable[[np.ndarray], str]
) -> list[Finding]:
    if not dataset.has_masks:
        return [Finding("D006", "notice", "no masks", "put one mask an image into masks/ to train and score")]
    found, n = [], len(dataset)

    def add(code: str, severity: str, message: str, remedy: str) -> None:
        found.append(Finding(code, severity, message, remedy))

    many = [i for i, levels in enumerate(dataset.levels) if levels > 2]
    if many and dataset.meaning == "binary" and not dataset.has_table:
        text = f"{len(many)} masks hold more than two values, up to {max(dataset.levels)} ({some(np.array(many))})"
        other = "masks=objects or masks=classes tells numbers apart, masks=classes colours"
        add("D010", "notice", text, f"every value above 0 is foreground; {other}; save colours of objects as numbers")
    if dataset.meaning == "classes":
        names = ", ".join(dataset.classes[1:])
        several = "training tells them apart; masks=binary takes all of them for one foreground"
        add("D013", "notice", f"classes {names}", several if dataset.learnt_classes else "it is the foreground")
        shown = {int(kind) for kinds in dataset.object_classes if kinds is not None for kind in kinds}
        if absent := [name for index, name in enumerate(dataset.classes) if index and index not in shown]:
            text = f"no mask shows the class{'es' * (len(absent) > 1)} {', '.join(absent)}"
            add("D014", "warning", text, "nothing is learnt of it; give images that show it, or leave it out")
    if not known.all():
        text = f"{(~known).sum()} masks are unknown everywhere ({some(np.flatnonzero(~known))})"
        add(UNLABELLED, "error", text, "nothing can be learnt from them or scored on them; take them out")
    empty = np.flatnonzero((shares == 0) & known)
    if len(empty) == n:
        add("D007", "error", "all masks are empty", "masks must be above 0 where there is foreground")
    elif len(empty):
        add("D008", "notice", f"{len(empty)} empty masks ({some(empty)})", "their Dice is 1 only if nothing is found")
    if dataset.meaning == "binary" and (shares == 1).all():
        remedy = "background must be 0; where each value is a class, masks=classes"
        add("D015", "error", "all masks are foreground everywhere", remedy)
    elif shares.mean() > 0.5:
        share = f"{shares.mean():.0%} of all pixels are foreground"
        add("D009", "notice", share, "if that is the background, invert the masks")
    return found
