"""The built-in batch transforms: mixup, and the augmentation policies on the device."""
