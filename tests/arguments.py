"""What the matrices of wrong arguments of several rooms share."""

import inspect


def taking(functions, *arguments):
    """Returns the pairs (name, argument) of functions that take one of some arguments."""
    return [
        (name, argument)
        for name, known in functions.items()
        for argument in arguments
        if argument in known
    ]


def public_functions(room):
    """Returns the names of the functions that a room offers."""
    return {name for name in room.__all__ if inspect.isfunction(getattr(room, name))}
