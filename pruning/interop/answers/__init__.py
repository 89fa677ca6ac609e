"""Import sampled answers: the logs of reinforcement learning and evaluation tools, and tables of success rates."""
