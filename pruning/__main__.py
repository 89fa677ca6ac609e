"""`python -m pruning`."""

from pruning.cli import main

if __name__ == "__main__":
    main()
