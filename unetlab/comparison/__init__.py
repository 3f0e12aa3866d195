"""Which setup is better, and how sure that is."""
