"""`python -m reelin.cli` is the program `reelin`."""

from reelin.cli import main

if __name__ == "__main__":
    main()
