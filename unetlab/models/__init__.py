"""Model builders, one a file: build(input_shape, weights, **options) -> uncompiled keras.Model, probabilities out."""
