"""The built-in post-processing: what is done to a scan's masks after the threshold."""
