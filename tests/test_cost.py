"""The benchmarks of scoring, serving and growth: what they compare is the same, and what they say follows from it."""

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import growth, scoring, serving, starts
from unetlab.inference import spool, tiles


def test_scores_are_the_same_in_memory_and_in_a_file(tmp_path, monkeypatch):
    scoring.write_blobs(tmp_path, 6, 32)
    monkeypatch.setattr(spool, "HELD", spool.HELD)  # which the benchmark sets
    held, spooled = (scoring.score_all(str(tmp_path), bytes) for bytes in (2**50, 5000))
    assert np.allclose(held, spooled, rtol=1e-9, atol=0) and 0.3 < held[0] < 1


def test_what_is_timed_scores_the_same_and_a_score_that_differs_is_no_speed_up(monkeypatch):
    monkeypatch.setattr(scoring, "SIDES", (64,))
    monkeypatch.setattr(scoring, "PIXELS", 10)
    answer = CliRunner().invoke(scoring.main, ["speed", "--repeats", "2"])
    assert answer.exit_code == 0 and "64x64" in answer.output, answer.output
    monkeypatch.setattr(scoring, "plain_boundary_f1", lambda *_: np.full(1, -1.0))
    assert CliRunner().invoke(scoring.main, ["speed", "--repeats", "2"]).exit_code != 0


@pytest.mark.parametrize("side", [600, 1300])
def test_the_bare_tiles_are_those_that_the_network_sees(side, monkeypatch):
    asked = []

    def network(images):
        asked.append(images.shape)
        return np.zeros((*images.shape[:3], 1), np.float32)

    tiles.tiled(network, np.zeros((side, side, 3), np.uint8), (0.0, 255.0), serving.SIDE)
    assert [batch.shape for batch in serving.batches_of(side)] == asked


def test_an_exponent_is_that_of_the_power():
    x = [10, 100, 1000, 5000]
    assert growth.exponent(x, [3 * each**1.5 for each in x]) == pytest.approx((1.5, 0), abs=1e-6)
    assert np.isnan(growth.exponent([1, 2], [1, 2])).all()


@pytest.mark.slow
def test_growth_trains_on_as_many_twins_as_it_says():
    data = growth.twins(64, 32)
    assert len(data) == 64 and len(set(data.sha)) == 64 and data.sizes.tolist() == [[32, 32]] * 64
    *seconds, size = growth.train(64, 32, 2)
    assert len(seconds) == 1 and seconds[0] > 0 and size == 64 * 32 * 32 * 4
    costs = {x: [growth.Cost(x / 10, 1.0), growth.Cost(x / 9, 1.1)] for x in (10, 20, 40)}
    labels = growth.picture({"images": costs, "side": costs}).axes[0].get_legend().get_texts()
    assert labels[0].get_text() == "exponent 1.00 ± 0.00"


def test_a_second_start_is_timed_on_the_cache_of_the_first(pairs):
    answer = CliRunner().invoke(starts.main, ["--data", str(pairs), "--repeats", "1"])
    assert answer.exit_code == 0, answer.output
    assert "starts on 12 images of 12 scenes" in answer.output and "of the processor" in answer.output
    answer = CliRunner().invoke(starts.main, ["--data", "/no/such/folder"])
    assert answer.exit_code == 2 and "no folder or zip at /no/such/folder" in answer.output
