"""Which number formats training computes in."""

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}
"""To Keras' name of it; the mixed policy leaves weights and the output layer in float32."""
