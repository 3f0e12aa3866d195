"""What the terminal says while a search runs."""

import io

from rich.console import Console

from unetlab.jobs.progress import SearchProgress


def test_slow_epochs_have_a_time_left_too():
    now = [0.0]
    progress = SearchProgress(3, Console(file=io.StringIO(), force_terminal=True, width=160))
    progress.bars.get_time = lambda: now[0]
    epochs = progress.start("trial 00 reference", 10)
    for epoch in range(5):
        now[0] += 40
        epochs.on_epoch_end(epoch, {"val_loss": 0.1, "val_dice": 0.9})
    whole, current = progress.bars.tasks
    assert 150 <= current.time_remaining <= 250 and "val dice 0.900" in current.fields["note"]
    for _ in range(2):
        now[0] += 200
        progress.done("one more")
    assert whole.time_remaining is not None and whole.time_remaining > 0


def test_where_there_is_no_terminal_a_line_a_trial():
    out = io.StringIO()
    with SearchProgress(1, Console(file=out)) as progress:
        progress.start("trial 00 reference", 2)
        progress.done("trial 00 reference: val dice 0.9")
    assert out.getvalue() == "trial 00 reference: val dice 0.9\n"
