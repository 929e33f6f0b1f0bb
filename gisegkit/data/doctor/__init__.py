"""The doctor: what is wrong or doubtful in a data set, found in its table and in a few facts of every slice."""
