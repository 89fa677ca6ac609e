"""Sample answers from a model, and verify them in processes that can be killed."""
