"""What the machine and the training interpreter are like: asked once, then a value."""
