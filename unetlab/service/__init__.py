"""The best model in use: registered under an alias, and run over folders."""
