"""`python -m receiver`: the same as the command `ampeco-receiver`."""

from receiver.cli import main

if __name__ == "__main__":
    main()
