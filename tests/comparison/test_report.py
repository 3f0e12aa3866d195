"""The report: what it says, that it asks nothing of anyone, and that runs without masks or searches have one too."""

import base64
import io
import re
import subprocess
import sys
from html.parser import HTMLParser

import mlflow
import numpy as np
import pytest
from click.testing import CliRunner
from fake_runs import IDS, difficulty, log_setup_run, score_table, trials_csv, write_artifacts
from PIL import Image
from rich.console import Console

from unetlab.cli.main import main
from unetlab.comparison import behind, report
from unetlab.comparison.compare import compare, contest
from unetlab.health.examine import examine
from unetlab.tracking import read, thumbnails
from unetlab.tracking.objects import OBJECTS


def _album(shift: int, seed: int = 0) -> bytes:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:64, :64]
    centre = rng.integers(16, 48, (len(IDS), 2))
    truth = np.stack([(y - cy) ** 2 + (x - cx) ** 2 < 144 for cy, cx in centre])
    images = np.clip(truth * 130 + rng.normal(50, 15, truth.shape), 0, 255).astype(np.uint8)[..., None]
    return thumbnails.pack(IDS, images, truth, np.roll(truth, shift, axis=2))


def _png(k: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.full((8 * k, 8, 3), (200, 30, 30), np.uint8)).save(out, "PNG")
    return out.getvalue()


def _log_experiment() -> None:
    base, rng = difficulty(), np.random.default_rng(0)
    for k, name in enumerate(("nuclei", "nuclei-scratch", "quarter", "latex")):
        dice = base - (0, 0.004, 0.03, 0.1)[k] + rng.normal(0, 0.02, len(IDS))
        trials = trials_csv(
            learning_rate=10 ** rng.uniform(-4, -2, 12), filters=rng.choice([8, 16, 24], 12), loss=["bce", "dice"] * 6
        )
        published = {"published/val_accuracy": 0.95, "published/val_loss": 0.08}
        gains = {f"gain/over_{rival}{end}": 0.01 for rival in ("otsu", "reference") for end in ("", "_low", "_high")}
        run = log_setup_run(
            name,
            dice,
            metrics={**published, **gains, "test/ms_per_image": 4.0 + k},
            params={"trials": 12, "data": "my cells.zip"},
            artifacts={"search/trials.csv": trials, thumbnails.PATH: _album(k)},
        )
        if k:
            (final,) = read.children(read.find_one(run))
            write_artifacts(final, {OBJECTS: _png(k)})


@pytest.fixture
def comparison(store):
    _log_experiment()
    return compare()


class _Addresses(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.found += [value for name, value in attributes if name in ("src", "href", "srcset", "action", "data")]


def test_the_page_loads_nothing_and_runs_nothing(comparison):
    page = report.html(comparison)
    parser = _Addresses()
    parser.feed(page)
    assert parser.found and all(address.startswith("data:image/") for address in parser.found)
    assert not {"script", "link", "iframe", "object"} & set(parser.tags)
    assert "url(" not in page and "@import" not in page
    assert len(page) < 3_000_000


def test_the_page_opens_with_the_conclusion_and_holds_every_part(comparison):
    page = report.html(comparison)
    headline = re.search(r"<h1>(.*?)</h1>", page).group(1)
    assert headline == "No single winner: 2 of 4 cannot be told apart."
    for title in (
        "Ranking", "Every metric", "What each search gained", "Score against cost", "Hyperparameters against score",
        "Where they disagree most", "Objects", "Health", "Published figures", "Data", "The exact commands",
    ):  # fmt: skip
        assert f"<h2>{title}" in page
    assert "Otsu&#39;s threshold, which learns nothing" in page
    assert "mlflow run . -e nuclei --env-manager local -P data=&#39;my cells.zip&#39; -P trials=12 -P seed=0" in page
    objects = re.search(r"Of nuclei-scratch: .*?base64,([^\"]+)", page, re.DOTALL)[1]  # the best has none
    assert Image.open(io.BytesIO(base64.b64decode(objects))).size == (8, 8)
    assert page.count("<figure>") == behind.MOST_IMAGES * 5  # the truth and four setups
    assert "accuracy on validation" in page and "not logged" not in page


def test_a_comparison_waits_for_no_tensorflow():
    code = "import sys, unetlab.comparison.report; print({'tensorflow', 'keras', 'keras_tuner'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_what_runs_are_named_cannot_change_the_page(store):
    log_setup_run("<script>alert(1)</script>", difficulty())
    log_setup_run("b", difficulty() - 0.05)
    page = report.html(compare())
    assert "<script" not in page and "&lt;script&gt;" in page


def test_names_with_brackets_are_names_on_the_terminal(store):
    for name, less in (("nuclei [lr=1e-3]", 0), ("nuclei [/old]", 0.05)):
        log_setup_run(name, difficulty() - less)
    console = Console(width=200, file=io.StringIO())
    console.print(report.table(compare()))
    assert "nuclei [lr=1e-3]" in console.file.getvalue() and "nuclei [/old]" in console.file.getvalue()


def test_a_folder_that_cannot_be_made_is_one_line_before_anything_is_compared(store, tmp_path):
    (tmp_path / "report").write_text("a file")
    answer = CliRunner().invoke(main, ["compare", "--out", str(tmp_path / "report")])
    assert answer.exit_code == 2 and "cannot be written (File exists)" in answer.stderr
    assert answer.stderr.count("\n") == 1


def test_the_report_finds_the_disagreement_of_seeds_that_the_runs_are_tagged_with(store):
    first = log_setup_run("a", difficulty(), seed=0)
    log_setup_run("a", difficulty() - 0.1, seed=1)
    assert "H008" in [finding.code for finding in examine(first)]
    other = log_setup_run("b", difficulty() - 0.02, seed=0)
    found = compare([first, other])
    assert "seeds disagree" in report.html(found)


def test_runs_without_masks_costs_or_searches_have_a_report(store):
    log_setup_run("a", difficulty(), finals=0)
    log_setup_run("b", difficulty() - 0.05, finals=0)
    page = report.html(compare())
    assert "These runs keep no masks" in page and "not logged" in page
    assert "Hyperparameters against score" not in page


def test_scores_without_runs_have_a_report_too():
    found = contest(["a", "b"], {"native_dice": np.stack([difficulty(), difficulty() - 0.1])})
    assert "a is better." in report.html(found)


def test_an_interval_of_one_pair_is_not_taken_for_a_verdict_over_many():
    told = np.array(
        [[0.905, 0.883, 0.901], [0.881, 0.859, 0.883], [0.879, 0.859, 0.866], [0.85, 0.53, 0.84], [0.75, 0.0, 0.05]]
    )
    alone = "among 10 pairs chance makes such a difference too often to call it one"
    assert alone in report.html(contest(list("abcde"), {"native_dice": told}, repeats=3))
    assert "chance makes such" not in report.html(contest(list("ab"), {"native_dice": told[:2]}, repeats=3))


def test_a_search_of_auto_has_its_trials_and_its_gain(store):
    gain = {f"gain/over_reference{end}": value for end, value in (("", 0.02), ("_low", 0.01), ("_high", 0.03))}
    log_setup_run("auto", difficulty(), params={"trials": 1, "minutes": 180}, metrics={**gain, "search/trials": 4})
    log_setup_run("nuclei", difficulty() - 0.01)
    (searched,), (alone,) = (behind.gain(name, own)["rows"] for name, own in behind.named(compare()))
    assert (searched["trials"], alone["trials"]) == ("4", "1") and searched["reference"] == [0.02, 0.01, 0.03]
    assert report.html(compare()).count("no search") == 1


def test_an_evaluation_and_a_run_on_the_same_images_show_where_they_disagree(store):
    log_setup_run("nuclei", difficulty())
    run_id = log_setup_run("latex", difficulty() - 0.1, tags={"split_digest": "of the images alone"})
    mlflow.MlflowClient().set_tag(run_id, "role", "evaluation")
    found = behind.disagreements(compare(where="tags.role != 'final'"))
    assert len(found) == behind.MOST_IMAGES and set(found[0]["dice"]) == {"nuclei", "latex"}


def test_repeats_show_every_split(store):
    for repeat in range(3):
        tags = {"repeat": str(repeat), "split_digest": f"s{repeat}"}
        ids = [f"{name}-{repeat}" for name in IDS]
        log_setup_run("a", difficulty(seed=repeat), ids=ids, tags=tags, seed=repeat)
        log_setup_run("b", difficulty(seed=repeat) - 0.05, ids=ids, tags=tags, seed=repeat)
    page = report.html(compare())
    assert "Split by split" in page and "Nadeau and Bengio" in page and "split 3" in page


def test_files_and_the_run_in_mlflow(comparison, tmp_path):
    path = report.write(comparison, tmp_path / "out")
    assert {file.name for file in path.parent.iterdir()} == {"report.html", "ranking.csv", "pairs.csv"}
    run_id = report.log(comparison)
    client = mlflow.MlflowClient()
    run = client.get_run(run_id)
    assert run.data.tags["role"] == "comparison" and len(run.data.tags["compared"].split()) == 4
    assert {entry.path for entry in client.list_artifacts(run_id)} == {"report.html", "ranking.csv", "pairs.csv"}
    assert len(compare().names) == 4  # a comparison is no contender


def test_the_terminal_shows_the_ranking_and_the_conclusion(comparison):
    console = Console(width=160, record=True, quiet=False, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        console.print(report.table(comparison))
        text = console.export_text()
    assert "1*" in text and comparison.names[0] in text and "cannot be told from" in text


def test_many_contenders_are_cut_short():
    dice = difficulty(60) - np.linspace(0, 0.1, 50)[:, None] + np.random.default_rng(0).normal(0, 0.02, (50, 60))
    page = report.html(contest([f"m{i}" for i in range(50)], {"native_dice": dice}))
    assert "10 more in ranking.csv" in page


def test_the_fake_table_means_what_its_columns_say():
    table = score_table(np.array([0.9, 0.5]), ["a", "b"])
    assert (2 * table["tp"] / (2 * table["tp"] + table["fp"] + table["fn"])).tolist() == table["dice"].tolist()


@pytest.mark.parametrize("spread", [1e-4, 0.003, 0.02, 0.065, 0.5])
def test_numbers_on_an_axis_do_not_touch(spread):
    dice = np.random.default_rng(0).normal(0.5, spread, (2, 40))
    for ticks in report._axes(contest(["a", "b"], {"native_dice": dice})):
        places = [place for place, _ in ticks]
        assert 2 <= len(ticks) <= report.MOST_TICKS + 1 and np.diff(places).min() > 40


def test_the_terminal_table_fits_80_columns_and_the_page_says_what_a_setup_is(store):
    log_setup_run("nuclei", difficulty())
    log_setup_run("nuclei-scratch", difficulty() - 0.01)
    found = compare()
    console = Console(width=80, file=io.StringIO())
    console.print(report.table(found))
    row = next(line for line in console.file.getvalue().splitlines() if "nuclei-scratch" in line)
    assert row.split()[0] == "2" and row.rstrip().endswith("< 0.0001")
    assert "frozen ImageNet encoder" in report.html(found)


def test_images_of_one_scene_have_a_report_without_intervals():
    dice = np.array([[0.9, 0.8, 0.7], [0.5, 0.6, 0.4]])
    found = contest(["a", "b"], {"native_dice": dice}, scenes=["s", "s", "s"])
    console = Console(width=120, file=io.StringIO())
    console.print(report.table(found))
    shown = [line.split() for line in console.file.getvalue().splitlines()]
    assert ["1*", "a", "0.8000"] in shown and ["2*", "b", "0.5000", "-0.3000", "1.00"] in shown
    page = report.html(found)
    assert "3 test images in 1 scene are too few" in page
    assert "nobody can say of images of one scene" in page and "+nan" not in page
    body = page.split("<body>")[1]
    assert body.count("<circle") == 3 and 'class="reach' not in body  # means, and no interval around them
