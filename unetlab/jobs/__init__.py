"""One file a command's life, top to bottom."""
