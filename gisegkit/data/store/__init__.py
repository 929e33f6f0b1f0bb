"""The prepared store: slices that were decoded once and are kept for the next run."""
