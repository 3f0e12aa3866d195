"""The figure of how long an exported network takes."""

import pandas as pd

from unetlab.tracking.speed import speed_plot


def test_a_panel_a_number_of_threads_and_a_line_a_network():
    rows = [
        {"threads": threads, "side": side, "network": name, "p50_ms": ms * side / threads, "p95_ms": 1.2 * ms * side}
        for threads in (1, 2)
        for side in (128, 256, 512)
        for name, ms in (("keras", 0.2), ("onnx", 0.1))
    ]
    figure = speed_plot(pd.DataFrame(rows), "onnx float32")
    assert [axes.get_title() for axes in figure.axes] == ["1 thread", "2 threads"]
    for axes, threads in zip(figure.axes, (1, 2), strict=True):
        drawn = {line.get_label(): line.lines[0].get_ydata().tolist() for line in axes.containers}
        assert drawn == {
            name: [ms * side / threads for side in (128, 256, 512)] for name, ms in (("keras", 0.2), ("onnx", 0.1))
        }
        assert [label.get_text() for label in axes.get_xticklabels()] == ["128", "256", "512"]
