"""The command line: checks values, calls one job, says a user's mistake in one line."""
