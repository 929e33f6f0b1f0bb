"""The built-in metrics, and the distances between surfaces that some of them measure."""
