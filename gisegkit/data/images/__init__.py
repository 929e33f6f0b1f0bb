"""Image files: what each says of itself, its pixels as they are stored, and both held against each other."""
