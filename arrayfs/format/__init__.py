"""Bytes <-> model: the files of a container as values. No I/O, no clock, no randomness in here."""
