"""Containers of n-dimensional arrays that every program can use as files."""
