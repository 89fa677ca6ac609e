"""Training data: readers of every source, the tasks, examples and their text, the sample, and where models lie."""
