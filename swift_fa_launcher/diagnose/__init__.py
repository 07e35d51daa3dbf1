"""A failed run's log turned into its cause."""
