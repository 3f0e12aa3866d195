"""What a search space holds."""

import keras_tuner


def ranges(space: keras_tuner.HyperParameters) -> dict[str, dict[str, float]]:
    """The lowest and highest value of each hyperparameter that has an order and something between its ends."""
    ranges = {}
    for hp in space.space:
        chosen = isinstance(hp, keras_tuner.engine.hyperparameters.Choice)  # a Float has values too, not its ends
        tried = hp.values if chosen else [getattr(hp, "min_value", None), getattr(hp, "max_value", None)]
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in tried)
        if numbers and len(tried) > (2 if chosen else 1):
            ranges[hp.name] = {"low": float(min(tried)), "high": float(max(tried))}
    return ranges
