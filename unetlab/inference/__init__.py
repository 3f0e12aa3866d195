"""What is scored is what is served: one way from an image to its mask."""
