"""The command `arrayfs`: one module a command; each parses its arguments and calls what is below."""
