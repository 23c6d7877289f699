"""`python -m residiff`: the command line."""

from residiff.cli import main

if __name__ == "__main__":
    main()
