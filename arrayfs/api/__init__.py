"""Python objects: containers, groups and arrays, with numpy in and out."""
