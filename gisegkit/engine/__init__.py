"""Training, evaluation and prediction: touches no files of a run and prints nothing."""
