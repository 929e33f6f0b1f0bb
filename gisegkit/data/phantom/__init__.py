"""A made-up data set in the layout of the UW-Madison competition, for trying things out and for tests."""
