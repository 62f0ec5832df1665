"""`python -m commands`: the same as the command `ampeco-receiver`."""

from commands import main

if __name__ == "__main__":
    main()
