"""The built-in networks, their encoders and their weights."""
