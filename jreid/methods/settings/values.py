"""Types of settings that say which values are allowed, and the check of values against them."""

import dataclasses
import difflib
import math
import numbers
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints


@dataclasses.dataclass(frozen=True)
class Range:
    """The numbers that a setting may be.

    Attributes:
      admits: whether a number lies in the range; NaN never does.
      expected: the range in words, for errors.
    """

    admits: Callable[[float], bool]
    expected: str


def at_least(bound: int) -> Range:
    """Returns the range of numbers from `bound` on."""
    return Range(lambda value: value >= bound, f'{bound} or more')


Count = Annotated[int, at_least(0)]
Size = Annotated[int, at_least(1)]
Weight = Annotated[float, at_least(0)]
Rate = Annotated[float, Range(lambda value: value >= 0, 'a rate, 0 or above')]
Share = Annotated[float, Range(lambda value: 0 <= value <= 1, 'a number from 0 to 1')]
Portion = Annotated[float, Range(lambda value: 0 < value <= 1, 'a share above 0 and at most 1')]
Decay = Annotated[float, Range(lambda value: 0 <= value < 1, 'a share from 0 to below 1')]
"""Share of the old that a running mean keeps. With 1 Adam divides 0 by 0, and SGD's momentum grows
with every step."""
Fraction = Annotated[float, Range(lambda value: 0 < value < 1, 'a share between 0 and 1')]
Mean = Annotated[float, at_least(1)]  # number of images per person
Positive = Annotated[float, Range(lambda value: value > 0, 'a number above 0')]
Optimizer = Literal['adam', 'adamw', 'sgd']
Schedule = Literal['constant', 'half-linear', 'cosine', 'steps']
"""Constant; constant for the first half, then linear to 0; cosine; x0.1 at boundaries."""
Domains = Literal['none', 'source', 'target', 'both']
"""Domains that a task is trained on."""

_KINDS: Mapping[Any, tuple[type, str]] = types.MappingProxyType(
    {
        int: (numbers.Integral, 'an integer'),
        float: (numbers.Real, 'a number'),
        str: (str, 'a string'),
    }
)


def check_values(settings: Any) -> None:
    """Checks every field of a settings dataclass against its type.

    Raises:
      ValueError: a value has another type, is none of the choices, or is out of its range; names
        the field, the value and what is expected. Also where k2, the images whose Jaccard
        neighbourhoods are averaged, is above k1, their size: that makes strangers alike.
    """
    hints = get_type_hints(type(settings), include_extras=True)
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if expected := mismatch(value, hints[field.name]):
            raise ValueError(f'method.{field.name} is {value!r}; expected {expected}')
    for prefix in ('', 'niec_'):
        k1, k2 = (getattr(settings, f'{prefix}{name}', 1) for name in ('k1', 'k2'))
        if k2 > k1:
            raise ValueError(
                f'method.{prefix}k2 is {k2}; expected at most method.{prefix}k1 ({k1}): an image is'
                ' averaged with some of its own neighbours'
            )


def mismatch(value: Any, hint: Any) -> str:
    """Returns what the type expects, or '' where the value fits."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        kind, *ranges = arguments
        outside = (allowed.expected for allowed in ranges if not allowed.admits(value))
        return mismatch(value, kind) or next(outside, '')
    if origin is Literal:
        return '' if value in arguments else ' or '.join(map(repr, arguments))
    if origin is tuple:
        return _tuple_mismatch(value, arguments)
    if hint is bool:
        return '' if isinstance(value, bool) else 'True or False'
    if hint in _KINDS:
        kind, name = _KINDS[hint]
        if isinstance(value, numbers.Real) and hint is float and not math.isfinite(value):
            return 'a finite number'
        return '' if isinstance(value, kind) and not isinstance(value, bool) else name
    return ''


def _tuple_mismatch(value: Any, arguments: tuple[Any, ...]) -> str:
    if not isinstance(value, (tuple, list)):
        return 'a tuple'
    if arguments[-1] is Ellipsis:
        arguments = (arguments[0],) * len(value)
    if len(value) != len(arguments):
        return f'a tuple of {len(arguments)}'
    wrong = (mismatch(item, hint) for item, hint in zip(value, arguments, strict=True))
    return next((f'{expected} in each place' for expected in wrong if expected), '')


def nearest(name: str, names: Iterable[str]) -> str:
    """Returns ` (did you mean 'x'?)` for the name that is most like a misspelt one, '' for none."""
    near = difflib.get_close_matches(name, list(names), 1)
    return f" (did you mean '{near[0]}'?)" if near else ''
