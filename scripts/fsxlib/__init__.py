"""fsx on files of a mount: see `scripts/fsx --help`."""
