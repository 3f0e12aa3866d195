"""A real `mlflow models serve` under requests of which a third are garbage, of every kind."""

import mlflow
import pytest

from benchmarks import requests
from benchmarks.garbage import GARBAGE, LARGE


@pytest.fixture
def own_store(monkeypatch):
    """What the benchmark sets is taken back."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    yield
    mlflow.set_tracking_uri(None)


@pytest.mark.slow
def test_a_server_refuses_all_kinds_of_garbage_and_answers_what_is_good(own_store):
    found = requests.measure(420, share=0.35)
    assert found.wrong == []
    sent = {kind for kind, _ in found.answers}
    assert set(GARBAGE) <= sent and sent & set(LARGE) and found.garbage > 80 and found.good > 200
    assert found.memory["peak"] < found.memory["start"] + 1500
    shown = [table.title for table in requests.tables(found)]
    assert shown == ["requests", "sums"]


@pytest.mark.parametrize(
    ("status", "text", "why"),
    [
        (200, "{}", "no refusal"),
        (500, '{"error_code": "X", "message": "x"}', "no refusal"),
        (400, "sorry", "no JSON"),
        (400, '{"message": "x"}', "not a code and a message"),
        (400, '{"error_code": "X", "message": "Traceback (most recent call last)"}', "more than a line"),
        (400, '{"error_code": "X", "message": "a\\nb"}', "more than a line"),
        (413, '{"error_code": "X", "message": "too large"}', ""),
    ],
)
def test_a_refusal_that_is_none_is_seen(status, text, why):
    assert requests.unfit(status, text) == why


def test_a_tenth_of_the_requests_is_garbage_of_every_kind():
    kinds = [kind for kind, _ in requests.plan(5000, 0)]
    assert 400 < sum(kind != "good" for kind in kinds) < 600
    assert set(kinds) == {"good", *GARBAGE, *LARGE}
