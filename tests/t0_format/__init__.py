"""Tests of `arrayfs.format`: bytes <-> model, by table, by golden file, by damage and at random."""
