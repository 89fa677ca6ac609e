"""Jobs: the worker that scores and measures, starting and watching it in the background, progress and estimates."""
