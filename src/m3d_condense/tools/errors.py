"""What goes wrong through the user's input, as opposed to a fault in the program."""


class UserError(ValueError):
    """A mistake in the data, the settings or the paths given.

    Its message says what was wrong, where, and what to do about it. The command line prints it as one
    line and exits with status 2.
    """
