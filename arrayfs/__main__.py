"""`python -m arrayfs` is the command `arrayfs`."""

from arrayfs.cli.main import main

if __name__ == "__main__":
    main()
