"""`python -m phi3_bento`: the same as the console script `phi3-bento`."""

from phi3_bento.cli import main

if __name__ == "__main__":
    main()
