"""Models of classes on labelled data: their own classes in any order, and what others get."""

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import encoded, write_pairs
from taught_models import tiny

from unetlab.cli.main import main
from unetlab.errors import UserError
from unetlab.jobs.evaluate import evaluate

NAMES = ["pans", "eggs"]


def write_classes(folder, table: str, values: tuple[int, int] = (1, 2), n: int = 6):
    """images/ of a red and a green square on black, and masks/ that have the two values of `values` there."""
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    for i in range(n):
        classes = np.zeros((40, 48), np.uint8)
        classes[4 + i : 20, 4:20], classes[24:36, 20 + i : 40] = 1, 2
        image = np.zeros((40, 48, 3), np.uint8)
        image[classes == 1, 0], image[classes == 2, 1] = 255 - 8 * i, 255 - 5 * i
        (folder / "images" / f"a{i}.png").write_bytes(encoded(image))
        (folder / "masks" / f"a{i}.png").write_bytes(encoded(np.array([0, *values], np.uint8)[classes]))
    if table:
        (folder / "masks" / "classes.csv").write_text(table)
    return folder


@pytest.mark.parametrize(
    ("table", "reading", "said"),
    [
        ("value,name\n1,pans\n2,lids\n", "auto", "in the masks of .* classes are pans, lids; give masks whose values"),
        ("value,name\n1,pans\n2,eggs\n3,lids\n", "auto", "classes are pans, eggs, lids; give masks"),
        ("", "classes", "classes are class 1, class 2; give masks"),
        ("", "auto", "values mean one foreground; give masks whose values are named the same in a classes.csv"),
    ],
)
def test_other_classes_than_the_models_are_one_line_that_names_both(store, tmp_path, table, reading, said):
    data = write_classes(tmp_path / "data", table)
    model = tiny(classes=NAMES)
    asked = ["evaluate", "--model", model, "--data", str(data), "--masks", reading]
    answer = CliRunner().invoke(main, asked)
    assert (
        answer.exit_code == 2 and answer.stderr.count("\n") == 1 and f"{model} tells pans, eggs apart" in answer.stderr
    )
    with pytest.raises(UserError, match=said):
        evaluate(model, str(data), reading={"masks": reading, "channels": "", "pages": "all"})


def test_a_model_of_classes_wants_classes_and_one_mask_takes_any_for_foreground(store, tmp_path, pairs):
    with pytest.raises(UserError, match="values mean one foreground"):
        evaluate(tiny(classes=NAMES), str(write_pairs(tmp_path / "more")))
    data = write_classes(tmp_path / "data", "value,name\n1,pans\n2,lids\n")
    found = evaluate(tiny(), str(data))
    assert found.figures["test/images"] == 6
