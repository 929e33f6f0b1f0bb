"""The built-in augmentation policies, on the CPU, sample by sample."""
