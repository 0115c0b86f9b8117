"""People's own pictures: a folder for each class becomes a data set."""
