"""Whole stores and files into containers and out of them: where values come from, and how they flow."""
