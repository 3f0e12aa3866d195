"""What a label value means: background, object, class or unknown. Nothing else in unetlab knows.

A label image numbers objects: 0 is background, 1 and on are objects. The two largest values of its dtype are of pixels
that nobody is sure of: label makers may leave some out, given masks only where a class is called `unknown`. A mask, as
label makers write it and as networks learn it, has dtype uint8 and the same two codes.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from unetlab.data.class_table import BACKGROUND_NAME, MOST_CLASSES, TABLE, UNKNOWN_NAME, read_table
from unetlab.data.mask_values import Values, black_first, coloured, foreground, not_first, palettes_differ
from unetlab.errors import UserError
from unetlab.images.regions import components

UNKNOWN = 255
"""Of a uint8 mask: nobody knows."""

LEANING = 254
"""Of a uint8 mask: nobody knows, but most would say foreground."""

MAX_OBJECTS = np.iinfo(np.uint16).max - 2
"""Labels take two bytes a pixel at most, and two values stand for unknown."""

NAME_COLOURS = f"write colours as #rrggbb into {TABLE}"

SHADES = 8
"""More values than these, of which the largest fills most of the foreground, are a binary mask's blurred edges."""


@dataclass(frozen=True)
class Meaning:
    """What the values of a data set's masks mean.

    Args:
        kind: "binary" (what is above 0 is foreground, its connected regions are objects), "objects" (each value above
            0 is one object, in however many pieces) or "classes" (each value is a class, the connected regions of a
            class are objects).
        why: how that was decided, for people.
        values: of classes, also where all of a table's are one foreground, the stored value of each, a grey value or
            0xRRGGBB, 0 first.
        names: of classes, one a value.
        colours: whether `values` are colours.
        inside_out: of binary masks that mark the lines between cells, whether what is above 0 are the lines.
    """

    kind: str
    why: str
    values: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    colours: bool = False
    inside_out: bool = False

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes by index, background first; what is unknown has none."""
        return _classes_of(self.names) if self.kind == "classes" else (BACKGROUND_NAME, "foreground")

    def key(self) -> str:
        """Changes when masks would be read otherwise."""
        return f"{self.kind} {self.values} {self.names}" + " inside out" * self.inside_out


def _classes_of(names: Iterable[str]) -> tuple[str, ...]:
    return (BACKGROUND_NAME, *(name for name in names if name not in (BACKGROUND_NAME, UNKNOWN_NAME)))


def decide(asked: str, sample: Iterable[Values], table: str | None, files: str) -> Meaning:
    """What masks mean.

    Args:
        asked: "binary", "objects", "classes", or "auto": classes where there is a table of them; objects where most
            masks of more than one value above 0 number objects (`numbers_objects`); binary otherwise. "binary" takes
            all classes of a table for one foreground.
        sample: masks of the data set, spread over it; each is let go before the next is taken.
        table: the content of a classes.csv (columns value, name; a value is a number or a colour #rrggbb), or None.
        files: where it lies, for errors.

    Raises:
        UserError: for a table that cannot be read, one of numbers where indices of palettes mean nothing, classes
            without a table where masks are JPEG, and more than MOST_CLASSES of them.
    """
    if table is not None and asked != "objects":
        return _named(table, files, asked, sample)
    if asked == "classes":
        return _found(sample, files)
    if asked in ("binary", "objects"):
        return Meaning(asked, "as asked")
    several = [
        (numbers_objects(values), values.colours) for values in map(black_first, sample) if len(_above(values)) > 1
    ]
    if not several:
        return Meaning("binary", "no mask has more than one value above 0")
    votes, colours = zip(*several, strict=True)
    if all(colours):
        how = (
            "masks=classes where each is a class; where each is an object save their numbers as PNG or TIFF of 16 bits"
        )
        return Meaning("binary", f"masks of several values hold colours; {how}")
    share = f"{sum(votes)} of {len(votes)} masks of several values number objects"
    if 2 * sum(votes) > len(votes):
        return Meaning("objects", f"{share}: their values run from 1 and each is one piece, or have more than 8 bits")
    return Meaning("binary", f"only {share}; masks=objects or masks=classes if values mean more than foreground")


def numbers_objects(values: Values) -> bool:
    """Whether a mask looks like a label image: no JPEG, no colours, no blurred edges, and either more than 8 bits, or
    values that run from 1 (the largest is at most four times their number) of which most are in one connected piece."""
    if values.lossy or values.colours:
        return False
    found = _above(values)
    # a binary mask that was made smaller or larger has edges of many values, each of few pixels
    if len(found) > SHADES and 2 * np.count_nonzero(values.plane == found[-1]) > np.count_nonzero(values.plane):
        return False
    if found[-1] > 255:
        return True
    if found[-1] > 4 * len(found):
        return False
    pieces = [int(components(values.plane == value).max()) for value in found]
    return 2 * pieces.count(1) > len(pieces)


def marking_lines(meaning: Meaning, masks: Iterable[Values]) -> Meaning:
    """The same of a data set whose masks mark the lines between cells, some of which are `masks`: lines are the smaller
    side of all of these together."""
    shares = [_share_above(values, meaning) for values in masks] if meaning.kind == "binary" else []
    if not shares:
        return meaning
    lines = float(np.mean(shares)) < 0.5
    why = f"{meaning.why}; by their name they mark membranes, so that cells are what is {'0' if lines else 'above 0'}"
    return replace(meaning, why=why, inside_out=lines)


def _share_above(values: Values, meaning: Meaning) -> float:
    """How much of what is known is above 0, or what a table has for anything but background."""
    if not meaning.names:
        return float(foreground(values).mean())
    mapped = _mapped(values, meaning)[0]
    return float((mapped > 0).sum() - (mapped == UNKNOWN).sum()) / max(1, int((mapped != UNKNOWN).sum()))


def _above(values: Values) -> np.ndarray:
    """The different values above 0, ascending; of a lossy mask there is one at most."""
    if values.lossy:
        return np.unique(foreground(values)).nonzero()[0]
    found = np.unique(values.plane)
    return found[found > 0]


def _found(sample: Iterable[Values], files: str) -> Meaning:
    # of all masks of the data set, so that none is kept whole
    exact = [values.used() for values in sample if not values.lossy]
    if not exact:
        raise UserError(f"{files}: masks=classes needs a {TABLE} (columns value, name) where all masks are JPEG")
    differ = palettes_differ(exact)
    colours = differ or any(values.colours or not_first(values) for values in exact)
    planes = [coloured(values) if colours else values.plane for values in exact]
    found = sorted({int(value) for plane in planes for value in np.unique(plane)} - {0})
    if len(found) > MOST_CLASSES:
        raise UserError(
            f"{files}: the masks hold {len(found)} values, too many to be classes; give a {TABLE} (columns value, "
            "name), or masks=objects if values number objects"
        )
    names = [f"#{value:06x}" if colours else f"class {value}" for value in found]
    why = "each colour is a class" if colours else "each value is a class"
    why += ", since palettes differ from mask to mask" if differ else ""
    return Meaning("classes", why, (0, *found), (BACKGROUND_NAME, *names), colours)


def _named(table: str, files: str, asked: str, sample: Iterable[Values]) -> Meaning:
    names, colours = read_table(table, files)
    if not colours and palettes_differ(values.used() for values in sample):
        raise UserError(f"{files}: an index has other colours in other masks, so that it means nothing; {NAME_COLOURS}")
    told = tuple(names), tuple(names.values()), colours
    if asked == "binary":
        return Meaning("binary", f"as asked; {TABLE} says what is background and what unknown", *told)
    return Meaning("classes", f"{TABLE} names them", *told)


@dataclass(frozen=True)
class Labels:
    """The objects of one image.

    Args:
        image: uint8 or uint16 (h, w), whichever suffices; 0 background, the two largest values unknown.
        classes: uint8 (objects + 1,), the class of each object by its number, 0 for background.
        levels: how many different values the mask held; 2 at most for a binary JPEG.
    """

    image: np.ndarray
    classes: np.ndarray
    levels: int


def label(values: Values, meaning: Meaning, membranes: bool = False) -> Labels:
    """A mask as a label image.

    Args:
        values: what it holds.
        meaning: what that means.
        membranes: a binary mask marks the lines between cells, of which `meaning` knows where they are.

    Raises:
        UserError: for more than MAX_OBJECTS objects, for a value that is no declared class, for JPEG or colours where
            values number objects.
    """
    if meaning.names:
        return _labelled_classes(values, meaning, membranes and meaning.inside_out)
    values = black_first(values)
    plane = values.plane
    if meaning.kind == "objects":
        if values.lossy or values.colours:
            what = "JPEG, which blurs values" if values.lossy else "colours, not numbers"
            raise UserError(f"masks=objects: the mask is {what}; save label images as 16-bit PNG or TIFF")
        found, numbers = np.unique(plane, return_inverse=True)
        first = 0 if found[0] == 0 else 1
        labels = numbers.reshape(plane.shape) + first
        return Labels(smallest(labels), _one_class(int(labels.max())), len(found))
    mask = foreground(values)
    levels = _levels(plane, mask, values.lossy)
    if membranes and meaning.inside_out:
        mask = ~mask
    labels = components(mask)
    return Labels(smallest(labels), _one_class(int(labels.max())), levels)


def _levels(plane: np.ndarray, mask: np.ndarray, lossy: bool) -> int:
    """Different values; most masks are binary, which needs no sorting of all pixels."""
    if lossy or not mask.any() or bool((plane[mask] == plane.max()).all()):
        return int(mask.any()) + int(not mask.all())
    return len(np.unique(plane))


def _one_class(objects: int) -> np.ndarray:
    classes = np.ones(objects + 1, np.uint8)
    classes[0] = 0
    return classes


def _labelled_classes(values: Values, meaning: Meaning, inside_out: bool) -> Labels:
    mapped, levels = _mapped(values, meaning)
    if meaning.kind == "binary":
        numbers = components(((mapped == 0) if inside_out else (mapped > 0)) & (mapped != UNKNOWN))
        return Labels(smallest(numbers, mapped == UNKNOWN), _one_class(int(numbers.max())), levels)
    labels, classes = np.zeros(mapped.shape, np.int64), [0]
    for kind in range(1, len(meaning.classes)):
        regions = components(mapped == kind)
        labels[regions > 0] = regions[regions > 0] + len(classes) - 1
        classes += [kind] * int(regions.max())
    return Labels(smallest(labels, mapped == UNKNOWN), np.array(classes, np.uint8), levels)


def _mapped(values: Values, meaning: Meaning) -> tuple[np.ndarray, int]:
    """The class of each pixel, uint8 with UNKNOWN, and how many different values there are."""
    order = np.argsort(meaning.values)
    declared, plane = np.array(meaning.values)[order], values.plane
    if meaning.colours:
        plane = coloured(values)
    elif values.colours:
        raise UserError(f"the mask holds colours, the classes are numbers; {NAME_COLOURS}")
    elif not_first(values):
        raise UserError(
            f"in the mask's palette black is in use but not the first colour, so that indices may mean nothing; "
            f"{NAME_COLOURS}"
        )
    if values.lossy:
        place = _nearest(plane, declared, meaning.colours)
    else:
        place = np.minimum(np.searchsorted(declared, plane), len(declared) - 1)
        if (odd := declared[place] != plane).any():
            raise UserError(_undeclared(plane[odd], meaning))
    named = _classes_of(meaning.names)
    kinds = np.array([named.index(name) if name in named else UNKNOWN for name in meaning.names], np.uint8)[order]
    return kinds[place], len(np.unique(place))


def _nearest(plane: np.ndarray, declared: np.ndarray, colours: bool) -> np.ndarray:
    """Where in `declared` the value nearest to each pixel's stands."""

    def parts(values: np.ndarray) -> np.ndarray:
        shifts = (16, 8, 0) if colours else (0,)
        return np.stack([(values.astype(np.int64) >> shift) & (255 if colours else -1) for shift in shifts])

    distance = np.stack(
        [((parts(plane) - parts(np.asarray(value))[:, None, None]) ** 2).sum(axis=0) for value in declared]
    )
    return np.asarray(distance.argmin(axis=0))


def _undeclared(odd: np.ndarray, meaning: Meaning) -> str:
    value, count = int(odd.flat[0]), odd.size
    shown = [f"#{v:06x}" if meaning.colours else str(v) for v in (value, *meaning.values)]
    return (
        f"{count:,} pixel{'s' * (count > 1)} of the undeclared value {shown[0]}; classes are {', '.join(shown[1:9])}: "
        f"add it to {TABLE} or mend the mask"
    )


def smallest(labels: np.ndarray, unknown: np.ndarray | None = None, leaning: np.ndarray | None = None) -> np.ndarray:
    """Object numbers (h, w) in the smallest dtype, uint8 or uint16, with what is unknown as its two largest values.

    Raises UserError for more than MAX_OBJECTS objects.
    """
    count = int(labels.max(initial=0))
    if count > MAX_OBJECTS:
        raise UserError(f"{count:,} objects, at most {MAX_OBJECTS:,} can be told apart; is it a mask?")
    dtype = np.uint8 if count <= np.iinfo(np.uint8).max - 2 else np.uint16
    out = labels.astype(dtype)
    for where, code in ((unknown, unknown_code(dtype)), (leaning, unknown_code(dtype) - 1)):
        if where is not None:
            out[where] = code
    return out


def unknown_code(dtype: np.dtype | type) -> int:
    """The value of a label image's dtype that means unknown; the one below means unknown, rather foreground."""
    return int(np.iinfo(dtype).max)


def known(labels: np.ndarray) -> np.ndarray:
    """Where a label image is known, bool (h, w)."""
    return np.asarray(labels < unknown_code(labels.dtype) - 1)


def objects(labels: np.ndarray) -> np.ndarray:
    """A label image without what is unknown, which becomes background."""
    return np.where(known(labels), labels, labels.dtype.type(0))


def rather_foreground(labels: np.ndarray) -> np.ndarray:
    """Where a label image says foreground, be it known or only likely, bool (h, w)."""
    return np.asarray((labels > 0) & (labels != unknown_code(labels.dtype)))


def from_mask(mask: np.ndarray) -> np.ndarray:
    """A uint8 mask of 0, 1, UNKNOWN and LEANING as a label image: connected foreground is an object.

    Objects beyond MAX_OBJECTS share the last number, since made labels may be speckled.
    """
    labels = np.minimum(components(mask == 1), MAX_OBJECTS)
    return smallest(labels, mask == UNKNOWN, mask == LEANING)


def from_parts(parts: Iterable[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """A label image of masks, bool (h, w), that hold one object each, numbered in their order; the later lies above.

    Raises UserError for more than MAX_OBJECTS.
    """
    labels = np.zeros(shape, np.uint16)
    for number, mask in enumerate(parts, start=1):
        if number > MAX_OBJECTS:
            raise UserError(f"more than {MAX_OBJECTS:,} masks; an image can have so many objects")
        labels[mask] = number
    return smallest(labels)
