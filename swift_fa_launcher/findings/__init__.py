"""What can be found wrong: the finding, and the one table of codes and words."""
