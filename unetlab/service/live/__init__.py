"""Frames with their masks at the rate it can: a page on 127.0.0.1, and headless the same as files."""
