"""Changes of light: of the image, never of the mask. Grey images, of one channel or of three alike, stay grey."""

import functools

import numpy as np
from scipy import special
from skimage.color import hed_from_rgb, rgb_from_hed

from unetlab.images.geometry import fit_channels
from unetlab.setup import Recipe
from unetlab.training.augment.change import Pair, factor

LEVELS = np.arange(256)
"""All that a pixel can be: what changes each value by itself is computed for these and looked up."""


def invert(image: np.ndarray, mask: np.ndarray, recipe: Recipe, rng: np.random.Generator) -> Pair:
    """Inverts the brightness of the recipe's share of images."""
    return (255 - image if rng.random() < recipe.invert else image), mask


def relight(image: np.ndarray, mask: np.ndarray, recipe: Recipe, rng: np.random.Generator) -> Pair:
    """Multiplies contrast around the image's mean and shifts brightness, each by up to the recipe's brightness."""
    mean, strength = image.mean(), recipe.brightness
    contrast, shift = 1 + rng.uniform(-strength, strength), rng.uniform(-strength, strength) * 255 * 0.5
    return np.clip((LEVELS - mean) * contrast + mean + shift, 0, 255).astype(np.uint8).take(image), mask


def stain(image: np.ndarray, mask: np.ndarray, recipe: Recipe, rng: np.random.Generator) -> Pair:
    """Changes how strong each stain of a bright-field image is: haematoxylin, eosin and DAB, each on its own.

    Stains are parted by colour deconvolution of optical densities (Ruifrok and Johnston 2001, scikit-image's matrix)
    and multiplied as in Tellez et al. 2018. Their added density is left out: it would tint the empty glass.
    """
    if _grey(image):
        return image, mask
    strengths = np.diag(1 + rng.uniform(-recipe.stain, recipe.stain, 3))
    mixed = (hed_from_rgb @ strengths @ rgb_from_hed).astype(np.float32)
    # black has no density; a quarter of a level comes back as black
    densities = -np.log(np.maximum(LEVELS, 0.25) / 255).astype(np.float32)
    light = densities.take(image) @ -mixed
    np.exp(light, out=light)
    light *= 255
    return _rounded(light), mask


def colour(image: np.ndarray, mask: np.ndarray, recipe: Recipe, rng: np.random.Generator) -> Pair:
    """Turns the hue by up to the recipe's colour as a share of half the circle, and multiplies the saturation.

    The saturation's factor is log-uniform between 1 / (1 + colour) and 1 + colour. Each pixel turns about the line of
    greys and keeps the mean of its channels.
    """
    if _grey(image):
        return image, mask
    turn, more = np.pi * rng.uniform(-recipe.colour, recipe.colour), factor(recipe.colour, rng)
    mean = np.full((3, 3), 1 / 3)
    across = np.array([[0, 1, -1], [-1, 0, 1], [1, -1, 0]]) / np.sqrt(3)
    mixed = (mean + more * (np.cos(turn) * (np.eye(3) - mean) + np.sin(turn) * across)).astype(np.float32)
    # row by row, as NumPy multiplies stacks: one large product would wait for threads that the training step has
    return _rounded(LEVELS.astype(np.float32).take(image) @ mixed), mask


def grey(image: np.ndarray, mask: np.ndarray, recipe: Recipe, rng: np.random.Generator) -> Pair:
    """Takes the colour from the recipe's share of images: three channels of luma."""
    if rng.random() < recipe.grey:
        image = fit_channels(fit_channels(np.ascontiguousarray(image), 1), image.shape[2])
    return image, mask


def gamma(image: np.ndarray, mask: np.ndarray, recipe: Recipe, rng: np.random.Generator) -> Pair:
    """Bends the brightness by a power, log-uniform between 1 / (1 + gamma) and 1 + gamma.

    The image's darkest and brightest value stay, as in nnU-Net (Isensee et al. 2021): a dim image keeps its levels.
    """
    low, high = int(image.min()), int(image.max())
    share = np.clip((LEVELS - low) / max(high - low, 1), 0, 1)
    return _rounded(low + (high - low) * share ** factor(recipe.gamma, rng)).take(image), mask


def blur(image: np.ndarray, mask: np.ndarray, recipe: Recipe, rng: np.random.Generator) -> Pair:
    """Blurs by a Gaussian of up to the recipe's blur, in pixels."""
    return _rounded(blurred(image, rng.uniform(0, recipe.blur))), mask


def blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    """uint8 (h, w, c) to float32, mirrored at the edges: `scipy.ndimage.gaussian_filter(truncate=3, mode="mirror")` by
    sums of whole arrays, for standard deviations of a pixel or two in a fifth of the time."""
    radius, found = int(3 * sigma + 0.5), image.astype(np.float32)
    weights = np.exp(-0.5 * (np.arange(radius + 1) / max(sigma, 1e-6)) ** 2).astype(np.float32)
    weights /= weights[0] + 2 * weights[1:].sum()
    for axis in (0, 1):
        length, beyond = image.shape[axis], [(radius, radius) if each == axis else (0, 0) for each in range(3)]
        wide = np.moveaxis(np.pad(found, beyond, mode="reflect"), axis, 0)
        found = found * weights[0]
        along = np.moveaxis(found, axis, 0)
        for k in range(1, radius + 1):
            pair = wide[radius - k : radius - k + length] + wide[radius + k : radius + k + length]
            pair *= weights[k]
            along += pair
    return found


def noise(image: np.ndarray, mask: np.ndarray, recipe: Recipe, rng: np.random.Generator) -> Pair:
    """Adds Gaussian noise, the same to all channels, with up to the recipe's noise as standard deviation.

    It is a share of the image's own range, from its darkest to its brightest value, or dim images would drown.
    """
    std = rng.uniform(0, recipe.noise) * float(int(image.max()) - int(image.min()))
    draws = rng.integers(1 << 16, size=image.shape[:2], dtype=np.uint16)
    noisy = image + np.rint(std * _normal()).astype(np.int16).take(draws)[..., None]
    return np.clip(noisy, 0, 255, out=noisy).astype(np.uint8), mask


@functools.cache
def _normal() -> np.ndarray:
    """65,536 quantiles of the normal distribution, to look up by random 16 bits: thrice as fast as drawing from it."""
    return np.asarray(special.ndtri((np.arange(1 << 16) + 0.5) / (1 << 16)))


def _grey(image: np.ndarray) -> bool:
    """Whether an image has no colour."""
    return image.shape[2] == 1 or all(np.array_equal(image[..., 0], image[..., k]) for k in (1, 2))


def _rounded(values: np.ndarray) -> np.ndarray:
    """Values as uint8, clipped to 0..255; made in place, since fresh memory costs more than the sums."""
    return np.clip(np.rint(values, out=values), 0, 255, out=values).astype(np.uint8)
