"""Datasets: one file a format; each gives the table, images and masks of ``gisegkit.types.Dataset``."""
