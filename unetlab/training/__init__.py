"""One training: a recipe, arrays and a seed in; a model and its history out."""
