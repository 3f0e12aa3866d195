"""What is refused before anything is read."""

import pytest

from experiments import load_setup
from unetlab.errors import UserError
from unetlab.jobs.early import refuse_numbers
from unetlab.options import Options


@pytest.mark.parametrize("told", [{"scale": "0.5"}, {"scale": "auto"}, {"scale": "2", "view": "whole"}])
def test_a_scale_of_whole_images_is_refused_since_it_would_do_nothing(told):
    said = f"scale={told['scale']} is of patches, and nuclei would squeeze whole images .* give view=patches"
    with pytest.raises(UserError, match=said):
        refuse_numbers(load_setup("nuclei"), Options(**told))
    refuse_numbers(load_setup("nuclei"), Options(**{**told, "view": "patches"}))
    refuse_numbers(load_setup("nuclei"), Options(view="whole"))


def test_auto_takes_patches_where_a_scale_is_named():
    refuse_numbers(load_setup("auto"), Options(minutes=5, scale="0.5"))
