"""Everything between files and batches: run lengths, folds, geometry, slices, loaders; no component lives here."""
