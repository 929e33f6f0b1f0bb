"""The built-in metrics, and the distances between surfaces that some of them measure."""

PREFERRED = ("uwmgi_score", "dice", "iou")
"""Shown first: ``giseg score`` computes these, and ``giseg compare`` compares by the first of them."""
