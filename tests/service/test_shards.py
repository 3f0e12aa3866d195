"""Shards: each image in one, and what is done not done again."""

import pytest

from unetlab.service import shards


@pytest.mark.parametrize("done", [{}, {0: 4}, {4: 4, 9: 1}, {8: 2}, {0: 1, 1: 2, 3: 7}, {0: 10}])
@pytest.mark.parametrize("most", [1, 3, 4, 100])
def test_every_image_is_in_one_shard_that_is_done_or_in_one_to_do(done, most):
    todo = list(shards.to_do(10, most, done))
    images = [i for first, count in done.items() for i in range(first, first + count)]
    images += [i for span in todo for i in span]
    assert sorted(images) == list(range(10)) and all(0 < len(span) <= most for span in todo)


def test_halves_come_to_single_images_and_parts_are_found_by_their_names(tmp_path):
    assert [list(half) for half in shards.halves(range(5, 8))] == [[5], [6, 7]]
    shards.part(tmp_path, 64, 32).mkdir()
    (tmp_path / ".building-x").mkdir()
    assert shards.done(tmp_path) == {64: 32}


def test_half_removed_parts_are_not_taken_for_done(tmp_path, monkeypatch):
    kept = tmp_path / "kept"
    for first in (0, 64):
        shards.part(kept, first, 64).mkdir(parents=True)
        (shards.part(kept, first, 64) / "rows.json").write_text("[]")

    def killed(folder, ignore_errors=False):
        if folder.exists():
            (folder / "000000000-64" / "rows.json").unlink()
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shards.shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            shards.discard(kept)
    assert not kept.exists() and shards.done(kept) == {}
    shards.part(kept, 0, 64).mkdir(parents=True)
    shards.discard(kept)
    assert not list(tmp_path.iterdir())


def test_in_turn_answers_each(tmp_path):
    assert list(shards.in_turn(lambda shard: shard * 2, [1, 2])) == [(1, 2, ""), (2, 4, "")]
