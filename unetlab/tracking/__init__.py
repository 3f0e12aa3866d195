"""MLflow both ways: what it is told and in which words, and runs read back from it."""
