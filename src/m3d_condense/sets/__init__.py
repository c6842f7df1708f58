"""The condensed set: a record, its folder, and what it shows."""
