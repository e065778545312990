"""The mount: translates the kernel's FUSE requests to `view.tree`; the only package that imports pyfuse3 and trio."""
