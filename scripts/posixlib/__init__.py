"""What other programs' tests of file systems say of a mount: see `scripts/fsx --help`, `scripts/pjdfstest --help`."""
