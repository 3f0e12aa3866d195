"""The table of classes: from any editor, with names and colours, and what is wrong with one."""

import numpy as np
import pytest
from small_labels import touching, written

from unetlab.data import classes, open_dataset
from unetlab.errors import UserError


def test_a_class_called_unknown_is_known_to_nobody(tmp_path):
    folder = written(tmp_path, [touching()])
    (folder / "classes.csv").write_text("value,name\n0,background\n1,cell\n2,unknown\n3,debris\n")
    data = open_dataset(str(folder))
    assert data.classes == ("background", "cell", "debris")
    assert np.array_equal(~data.known(0), touching() == 2) and not (data.objects(0)[touching() == 2]).any()


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_a_table_of_classes_may_come_from_any_editor(tmp_path, end, start):
    folder = written(tmp_path, [np.where(touching() > 1, 128, touching())])
    rows = ["value, name", "0, Background", "1, pan", "128, Unknown", ""]
    (folder / "classes.csv").write_bytes((start + end.join(rows)).encode())
    data = open_dataset(str(folder))
    assert data.classes == ("background", "pan")
    assert np.array_equal(data.class_map(0), np.where(touching() > 1, classes.UNKNOWN, touching()))


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("value,colour\n1,red\n", "must have the columns value and name"),
        ("value,name\nred,cell\n", "line 2: 'red', 'cell'; a row has a whole number"),
        ("value,name\n1,cell\n1,debris\n", "line 3: 1 or 'debris' stands there twice"),
        ("value,name\n1,cell\n2,debris\n", "32 pixels of the undeclared value 3; classes are 0, 1, 2"),
        ("", "must have the columns value and name"),
        ("value;name\n1;cell\n", "a row a class; separate its columns by commas, not semicolons"),
    ],
)
def test_a_bad_table_of_classes_is_told_in_one_line(tmp_path, table, said):
    folder = written(tmp_path, [touching()])
    (folder / "classes.csv").write_text(table)
    with pytest.raises(UserError) as caught:
        open_dataset(str(folder))
    assert said in str(caught.value) and "\n" not in str(caught.value)
