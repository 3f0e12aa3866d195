"""A folder of images through a logged model: masks, overlays and a table."""

from collections import Counter
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from PIL import Image
from rich.console import Console
from rich.progress import track
from skimage.segmentation import find_boundaries

from unetlab import pixels
from unetlab.data.readers import ENDINGS
from unetlab.errors import UserError

OUTLINE = (255, 0, 200)
"""A magenta that is seen on dark fluorescence and on purple stains alike."""


def predict_folder(model: str, images: Path, out: Path, threshold: float | None = None) -> pd.DataFrame:
    """Segments every image of a folder, or one image.

    Writes masks/<name>.png (0 and 255, the image's own size), overlays/<name>.png and predictions.csv below `out`.
    Images that cannot be read are listed there and at the end, and do not stop the others.

    Args:
        model: "models:/name@alias", "models:/name/version", "models:/m-...", "runs:/..." or a model's folder.
        images: a folder or a file.
        out: created where needed; must not be the images' folder.
        threshold: in [0, 1]; None for the model's own.

    Returns:
        The table: file, height, width, mode, foreground_fraction, object_count, error.

    Raises:
        UserError: if there are no images, none can be read, the model cannot be found, or `out` is `images`.
    """
    paths = _images(images)
    if out.resolve() in (images.resolve(), images.resolve().parent if images.is_file() else images.resolve()):
        raise UserError(f"out={out} is the folder of the images; give another, so that nothing is overwritten")
    segmenter = _load(model)
    for name in ("masks", "overlays"):
        (out / name).mkdir(parents=True, exist_ok=True)
    stems = Counter(path.stem for path in paths)
    params = {} if threshold is None else {"threshold": threshold}
    console = Console(stderr=True)
    rows = []
    for path in track(paths, "segmenting", console=console, disable=not console.is_terminal):
        name = path.stem if stems[path.stem] == 1 else path.name.replace(".", "_")
        rows.append({"file": path.name, **_predict(segmenter, path, out, name, params)})
    table = pd.DataFrame(rows)
    table.to_csv(out / "predictions.csv", index=False)
    failed = table[table["error"] != ""]
    for row in failed.itertuples():
        console.print(f"not segmented: {row.file}: {row.error}", highlight=False, soft_wrap=True)
    if len(failed) == len(table):
        raise UserError(f"none of the {len(table)} images in {images} can be read; {out / 'predictions.csv'} says why")
    console.print(
        f"{len(table) - len(failed)} of {len(table)} images segmented: {out}", highlight=False, soft_wrap=True
    )
    return table


def _images(images: Path) -> list[Path]:
    if not images.exists():
        raise UserError(f"no folder or image at {images}; give one that exists")
    if images.is_file():
        return [images]
    paths = sorted(p for p in images.iterdir() if p.suffix.lower() in ENDINGS and not p.name.startswith("."))
    if not paths:
        raise UserError(f"{images} holds no PNG, JPEG, TIFF or BMP image; give a folder that does")
    return paths


def _load(model: str) -> mlflow.pyfunc.PyFuncModel:
    try:
        return mlflow.pyfunc.load_model(model)
    except (MlflowException, OSError) as error:
        reason = str(error).splitlines()[0][:160]
        raise UserError(
            f"model={model} cannot be loaded ({reason}); the Models page of `make ui` lists what there is, "
            "for example models:/unetlab-nuclei@champion"
        ) from error


def _predict(
    segmenter: mlflow.pyfunc.PyFuncModel, path: Path, out: Path, name: str, params: dict[str, float]
) -> dict[str, object]:
    data = path.read_bytes()
    try:
        image, mode = pixels.decode(data)
    except pixels.PixelError as error:
        return {"error": str(error)}
    answer = segmenter.predict(pd.DataFrame({"image": [data]}), params=params).iloc[0]
    (out / "masks" / f"{name}.png").write_bytes(answer["mask"])
    drawn = overlay(image, pixels.decode_mask(answer["mask"]))
    Image.fromarray(drawn).save(out / "overlays" / f"{name}.png")
    height, width = image.shape[:2]
    found = {"foreground_fraction": answer["foreground_fraction"], "object_count": answer["object_count"]}
    return {"height": height, "width": width, "mode": mode, **found, "error": ""}


def overlay(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Outlines of a bool mask (h, w) over an image uint8 (h, w, 1 or 3), uint8 (h, w, 3), dim images brightened."""
    bright = pixels.normalise(image[None], "percentile")[0] * 255
    drawn = pixels.fit_channels(bright.astype(np.uint8), 3).copy()
    drawn[find_boundaries(mask, mode="inner")] = OUTLINE
    return drawn
