"""Statistics of paired scores, for many pairs at once: intervals, sign-flip tests, Holm, repeated splits, power.

Rows are pairs and columns images throughout. Everything that is random is seeded and the same for all pairs, so that a
pair's figures do not depend on which other pairs are asked for.

Images of one scene (copies, frames of one take, tiles of one field) are easy or hard together, so they are no
independent witnesses: flips turn a scene as a whole, the bootstrap draws scenes, and what is estimated is the mean over
images, as it is reported: a scene weighs as much as it has images. Functions take `scenes`, (images,) of numbers or
words, equal for the images of one scene; None says that every image is a scene of its own.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import special, stats

DRAWS = 10_000
"""Resamples of scenes for an interval, and sign flips for a p-value."""

BLOCK = 512
"""Pairs handled at a time: 512 pairs and 10,000 draws are 41 MB."""

DRAWN = 500
"""Resamples of scenes, or scenes of all flips, that are weights or signs in float64 at a time: memory is flat."""

RARE = 100
"""Fewer exceedances than this among the flips, and the p-value comes from tilted flips instead."""

TILTED_DRAWS = 4_000

_TOLERANCE = 1e-12


Scenes = np.ndarray | Sequence[int] | Sequence[str] | None
"""The scene of each image; None for images that are a scene each."""


class Paired(NamedTuple):
    """Figures of pairs, float64 (pairs,) each.

    Args:
        mean: mean difference over images.
        low: lower end of its 95 % interval; NaN where all images are one scene.
        high: upper end.
        p_value: two-sided, of no difference; 1 where all images are one scene.
        effect: Cohen's d of paired data: mean difference over the standard deviation of the differences between scenes,
            0 where all differences are 0 and infinite where all are the same.
    """

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p_value: np.ndarray
    effect: np.ndarray


def paired(differences: np.ndarray, scenes: Scenes = None, draws: int = DRAWS, seed: int = 0) -> Paired:
    """Interval, test and effect size of differences, float64 (pairs, images) with at least two images.

    Raises ValueError for fewer than two images, and for scenes that are not as many as images.

    Example:

        >>> differences = np.array([[0.02, 0.03, 0.01, 0.04, 0.02, 0.03], [0.02, -0.03, 0.01, -0.01, 0.02, 0.03]])
        >>> paired(differences).p_value.round(3).tolist()
        [0.031, 0.594]
        >>> paired(differences, scenes=["a", "a", "b", "b", "c", "c"]).p_value.round(3).tolist()
        [0.25, 1.0]
    """
    if differences.ndim != 2 or differences.shape[1] < 2:
        raise ValueError(f"differences must be (pairs, images) of two images or more. Received: {differences.shape}")
    mean = differences.mean(axis=1)
    low, high = bootstrap_interval(differences, scenes, draws, seed)
    p_value = paired_test(differences, scenes, draws, seed)
    return Paired(mean, low, high, p_value, effect_size(differences, scenes))


def by_scene(differences: np.ndarray, scenes: Scenes = None) -> tuple[np.ndarray, np.ndarray]:
    """Sums over the images of each scene, float64 (pairs, scenes), and how many images each has, float64 (scenes,).

    Scenes come in the order of their sorted names, so that the order of images changes nothing.

    Raises ValueError for scenes that are not as many as images.

    Example:

        >>> sums, sizes = by_scene(np.array([[1.0, 2.0, 4.0]]), ["b", "a", "b"])
        >>> sums.tolist(), sizes.tolist()
        ([[2.0, 5.0]], [1.0, 2.0])
    """
    images = differences.shape[1]
    if scenes is None:
        return differences, np.ones(images)
    given = np.asarray(scenes)
    if given.shape != (images,):
        raise ValueError(f"scenes must name the scene of each of {images} images. Received: {given.shape}")
    _, scene, sizes = np.unique(given, return_inverse=True, return_counts=True)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    sums = np.add.reduceat(differences[:, np.argsort(scene, kind="stable")], starts, axis=1)
    return sums, sizes.astype(np.float64)


def count_scenes(scenes: Scenes, images: int) -> int:
    """How many scenes so many images are of."""
    return images if scenes is None else len(np.unique(np.asarray(scenes)))


def bootstrap_interval(
    differences: np.ndarray, scenes: Scenes = None, draws: int = DRAWS, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """95 % intervals of the means of rows, float64 (pairs,) low and high: bootstrap over scenes, never inside of t's.

    The bootstrap draws whole scenes and takes the mean over the images drawn; a bias correction moves its levels by how
    far the resampled means' median lies from the mean (Efron, Canadian Journal of Statistics 1981). The levels
    themselves are those of Student's t (Hesterberg, The American Statistician 2015, "expanded percentile"), since the
    plain bootstrap knows neither that the spread of few values is too small nor that it is estimated: the standard
    error is the jackknife's over scenes, and the degrees of freedom are those of the effective number of scenes. The
    bootstrap sees which tail is the longer one, but has no tails to speak of where scenes are few, so each end is the
    farther one of its own and that of the t interval of the same standard error.

    There is no acceleration (BCa) on purpose. It is estimated from third powers, and differences of Dice have heavy
    tails. `python -m benchmarks.false_alarms` says how often these intervals hold the truth.

    Both ends are NaN where all images are one scene, which says nothing of others.
    """
    sums, sizes = by_scene(differences, scenes)
    mean, n = differences.mean(axis=1), len(sizes)
    if n < 2:
        return np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    apart = sums - mean[:, None] * sizes
    error = spread(differences, scenes) / np.sqrt(n)
    plain = np.sqrt((apart**2).sum(axis=1)) / sizes.sum()
    quantile = _quantile(0.975, sizes)
    level = quantile * np.divide(error, plain, out=np.ones_like(error), where=plain > 0)
    blocks = [slice(start, start + BLOCK) for start in range(0, max(len(apart), 1), BLOCK)]
    resampled = (_resampled(apart[rows], sizes, draws, seed) for rows in blocks)
    ends = [_bias_corrected(means, level[rows]) for means, rows in zip(resampled, blocks, strict=True)]
    low, high = np.concatenate(ends, axis=1)
    return mean + np.minimum(low, -quantile * error), mean + np.maximum(high, quantile * error)


def _resampled(apart: np.ndarray, sizes: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """Means over images of scenes drawn anew as distances from the mean, sorted, (pairs, draws).

    `apart` are sums of scenes less what the mean makes of them, (pairs, scenes), `sizes` their images. Some draws at a
    time, so that memory does not grow with their number times that of scenes.
    """
    rng, n = np.random.default_rng(seed), len(sizes)
    means = np.empty((len(apart), draws))
    for start in range(0, draws, DRAWN):
        drawn = rng.multinomial(n, np.full(n, 1 / n), size=min(DRAWN, draws - start)).T
        means[:, start : start + DRAWN] = apart @ (drawn / (sizes @ drawn))
    means.sort(axis=1)
    return means


def _bias_corrected(means: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Low and high as distances from the mean, (2, pairs), of `_resampled` means and normal quantiles, (pairs,)."""
    draws = means.shape[1]
    below = (means < 0).mean(axis=1) / 2 + (means <= 0).mean(axis=1) / 2
    bias = special.ndtri(np.clip(below, 0.5 / draws, 1 - 0.5 / draws))
    rows = np.arange(len(means))
    ends = []
    for z in (-level, level):
        place = special.ndtr(2 * bias + z) * (draws - 1)
        left = np.floor(place).astype(np.intp)
        lower, upper = means[rows, left], means[rows, np.minimum(left + 1, draws - 1)]
        ends.append(lower + (place - left) * (upper - lower))
    return np.stack(ends)


def paired_test(differences: np.ndarray, scenes: Scenes = None, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """Two-sided p-values of no mean difference over images, float64 (pairs,): the larger of two tests' p-values.

    Flips of scenes (`sign_flip_test`) take no shape of the differences for granted, but that a scene could as well have
    scored the other way round. Where a few large scenes hold most images, flips of these are all that counts, and their
    spread is known worse than flips know: on real scenes they call 5 to 10 % of equal models different at the 5 %
    level. Student's t of the jackknife's standard error with Kish's effective scenes for its degrees of freedom, as
    in `bootstrap_interval`, allows for that, but trusts the mean to be normal. A difference has to convince both, and
    so one that this test finds lies outside the t interval too. `python -m benchmarks.false_alarms` holds it to 5 %.
    """
    return paired_test_of_sums(*by_scene(differences, scenes), draws, seed)


def paired_test_of_sums(sums: np.ndarray, sizes: np.ndarray, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """The same of sums over scenes, float64 (pairs, scenes), and the scenes' images, (scenes,) or (pairs, scenes)."""
    return np.maximum(sign_flip_test(sums, draws=draws, seed=seed), _t_test(sums, sizes))


def _t_test(sums: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """p-values of Student's t of the jackknife's standard error; 1 for one scene, and where there is no difference."""
    n = sums.shape[1]
    if n < 2:
        return np.ones(len(sums))
    mean, error = sums.sum(axis=1) / sizes.sum(axis=-1), _spread(sums, sizes) / np.sqrt(n)
    return _two_sided(mean, error, np.maximum(1.0, effective_scenes(sizes) - 1))


def _two_sided(mean: np.ndarray, error: np.ndarray, freedom: np.ndarray | float) -> np.ndarray:
    """p-values of Student's t of means with standard errors; without any error 0, and 1 where the mean is 0 as well."""
    flat = error <= _TOLERANCE * np.abs(mean)
    t = np.where(flat, np.where(np.abs(mean) > 0, np.inf, 0.0), mean / np.where(flat, 1, error))
    return np.asarray(2 * stats.t.sf(np.abs(t), freedom))


def sign_flip_test(differences: np.ndarray, scenes: Scenes = None, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """Two-sided p-values of the paired permutation test of the mean over images, float64 (pairs,).

    If two models are equally good, each scene could as well have scored the other way round: the sign of all its
    differences together is flipped at random, and the p-value is the share of flips whose mean is as far from 0 as the
    one seen. This is `scipy.stats.permutation_test` of the scenes' sums with `permutation_type="samples"`, for all
    pairs by one matrix product: all flips where they are no more than `draws`, else `draws` of them and the one seen.

    Where fewer than RARE of the flips go as far, the share is too coarse for Holm's correction of many pairs, which
    needs p-values far below 1 / draws: there the tail of the same distribution comes from tilted flips (`tilted_p`).
    """
    sums, sizes = by_scene(differences, scenes)
    n = len(sizes)
    everything = 2**n <= draws if n < 60 else False
    if everything:
        up = (np.arange(2**n)[None, :] >> np.arange(n)[:, None]) & 1
    else:
        rng, up = np.random.default_rng(seed), np.empty((n, draws), np.int8)
        for flips in up:
            flips[:] = rng.integers(0, 2, draws)
    p = np.empty(len(sums))
    for start in range(0, len(sums), BLOCK):
        block = sums[start : start + BLOCK]
        seen = np.abs(block.sum(axis=1)) - _TOLERANCE * np.abs(block).sum(axis=1)
        flipped = np.zeros((len(block), up.shape[1]))
        for k in range(0, n, DRAWN):
            flipped += block[:, k : k + DRAWN] @ (1.0 - 2.0 * up[k : k + DRAWN])
        exceeding = (np.abs(flipped) >= seen[:, None]).sum(axis=1)
        if everything:
            p[start : start + BLOCK] = exceeding / 2**n
            continue
        found = (exceeding + 1) / (draws + 1)
        rare = np.flatnonzero(exceeding < RARE)
        found[rare] = tilted_p(block[rare], seed=seed)
        p[start : start + BLOCK] = found
    return p


def tilted_p(sums: np.ndarray, draws: int = TILTED_DRAWS, seed: int = 0) -> np.ndarray:
    """Two-sided p-values of the sign-flip test of sums, float64 (pairs, scenes), by importance sampling, (pairs,).

    Each sign is drawn positive with the probability 1 / (1 + exp(-2 t |d|)), t chosen so that the sum of an average
    draw is the one seen, and each draw is weighted back by its likelihood ratio exp(K(t) - t sum), with K(t) =
    sum(log(cosh(t d))) (exponential tilting: Siegmund, Annals of Statistics 1976). Half of the draws or so then go as
    far as the sum seen, so 4,000 give a p-value to a few per cent, ties and zeros included, at 1e-3 as at 1e-20.
    """
    size = np.abs(sums)
    seen, reach = np.abs(sums.sum(axis=1)), size.sum(axis=1)
    least = 2.0 ** (1 - (size > 0).sum(axis=1))  # all signs the same
    inside = (seen > 1e-9 * reach) & (seen < (1 - 1e-9) * reach)
    p = np.where(seen > 1e-9 * reach, least, 1.0)
    uniform = np.random.default_rng(seed).random((draws, sums.shape[1]), dtype=np.float32)
    tilts = _tilt(size[inside], seen[inside])
    for row, t in zip(np.flatnonzero(inside), tilts, strict=True):
        x = t * size[row]
        up = uniform < special.expit(2 * x)
        total = 2 * (up @ size[row]) - reach[row]
        weight = np.exp((np.logaddexp(x, -x) - np.log(2)).sum() - t * total)
        tail = np.mean(weight * (total >= seen[row] - _TOLERANCE * reach[row]))
        p[row] = np.clip(2 * tail, least[row], 1)
    return p


def _tilt(size: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """The t at which the mean of the tilted sum, sum(d tanh(t d)), is the one seen; float64 (pairs,)."""
    t = seen / (size**2).sum(axis=1)
    for _ in range(100):  # Newton from the left of a concave, rising function: it cannot overshoot
        tanh = np.tanh(t[:, None] * size)
        slope = (size**2 * (1 - tanh**2)).sum(axis=1)
        t = t + (seen - (size * tanh).sum(axis=1)) / np.maximum(slope, 1e-300)
    return np.asarray(t)


def spread(differences: np.ndarray, scenes: Scenes = None) -> np.ndarray:
    """Standard deviation of differences between scenes, float64 (pairs,), NaN for one scene.

    The standard error of the mean over images is this over the square root of the number of scenes: the jackknife's,
    which leaves out one scene at a time (Efron and Stein, Annals of Statistics 1981), since a large scene draws the
    mean towards itself. Where all scenes have one size it is the plain standard deviation of their means, with n - 1.
    """
    sums, sizes = by_scene(differences, scenes)
    return np.full(len(sums), np.nan) if len(sizes) < 2 else _spread(sums, sizes)


def _spread(sums: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The same of sums over two scenes or more, (pairs, scenes), and of their images, (scenes,) or (pairs, scenes)."""
    total = sizes.sum(axis=-1, keepdims=True)
    apart = (sums - sums.sum(axis=1, keepdims=True) / total * sizes) / (total - sizes)
    return np.asarray(np.sqrt((sums.shape[1] - 1) * (apart**2).sum(axis=1)))


def effective_scenes(sizes: np.ndarray) -> np.ndarray:
    """As many scenes of one size say as much as these, of (..., scenes) sizes: sum(size)^2 / sum(size^2) (Kish, Survey
    Sampling, 1965)."""
    return np.asarray(sizes.sum(axis=-1) ** 2 / (sizes**2).sum(axis=-1))


def _quantile(share: float, sizes: np.ndarray) -> float:
    """Student's t with as many degrees of freedom as there are effective scenes, less one."""
    return float(stats.t.ppf(share, max(1.0, float(effective_scenes(sizes)) - 1)))


def effect_size(differences: np.ndarray, scenes: Scenes = None) -> np.ndarray:
    """Cohen's d of paired data, float64 (pairs,): mean over the differences' standard deviation between scenes."""
    mean, between = differences.mean(axis=1), spread(differences, scenes)
    flat = between <= _TOLERANCE * np.abs(differences).max(axis=1, initial=0)
    same = np.where(np.abs(mean) > 0, np.copysign(np.inf, mean), 0.0)
    return np.where(flat, same, mean / np.where(flat, 1, between))


def holm(p_values: np.ndarray, family: int | None = None) -> np.ndarray:
    """p-values adjusted for many comparisons (Holm, Scandinavian Journal of Statistics 1979), in the order given.

    Args:
        p_values: float64 (k,).
        family: how many comparisons they are drawn from, at least k; those not given count as if they showed nothing,
            which errs on the careful side. Defaults to k.
    """
    k = len(p_values)
    order = np.argsort(p_values, kind="stable")
    factors = (family or k) - np.arange(k)
    adjusted = np.empty(k)
    adjusted[order] = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1)
    return adjusted


def corrected_resampled_t(differences: np.ndarray, test_share: float) -> Paired:
    """Interval and test of mean differences over repeated splits, float64 (pairs, repeats) with two repeats or more.

    The repeats share images, so their results hang together and their plain variance is too small: it is multiplied by
    1 / repeats + test_share instead of 1 / repeats (the corrected resampled t-test of Nadeau and Bengio, Machine
    Learning 52, 2003).

    Args:
        differences: of each repeat, the mean difference of two models on its test images.
        test_share: test images / training images.

    Example:

        >>> found = corrected_resampled_t(np.array([[0.02, 0.03, 0.01, 0.02]]), test_share=0.2)
        >>> round(float(found.p_value[0]), 3)
        0.035
    """
    repeats = differences.shape[1]
    mean, spread = differences.mean(axis=1), differences.std(axis=1, ddof=1)
    error = np.sqrt(1 / repeats + test_share) * spread
    reach = stats.t.ppf(0.975, repeats - 1) * error
    p = _two_sided(mean, error, repeats - 1)
    return Paired(mean, mean - reach, mean + reach, p, effect_size(differences))
