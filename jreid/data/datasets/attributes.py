"""Identity attributes of Market-1501 and DukeMTMC-reID, from the .mat files of Lin et al.

Source: Lin et al. 2019 (arXiv:1703.07220).
"""

import dataclasses
import os
import pathlib

import numpy as np

AGES = ('young', 'teenager', 'adult', 'old')


@dataclasses.dataclass(frozen=True)
class Table:
    """The attributes of identities.

    Attributes:
      names: names of the columns.
      values: the set's own identity -> float32 [M].
      source: the file, for errors.
    """

    names: tuple[str, ...]
    values: dict[int, np.ndarray]
    source: str

    def rows(self, identity: np.ndarray) -> np.ndarray:
        """Looks up identities: [N, M] float32, NaN for identities 0 and below.

        These are the distractors, which are not annotated.

        Raises:
          ValueError: the file lacks identities above 0.
        """
        distinct = np.unique(identity)
        missing = [int(i) for i in distinct if i > 0 and int(i) not in self.values]
        if missing:
            raise ValueError(
                f'{len(missing):,} of {len(distinct):,} identities have no attributes in'
                f' {self.source}, e.g. {missing[:5]}; it has {len(self.values):,} identities. Give'
                ' the annotation file of this set (attributes=PATH), or attributes=False'
            )
        unknown = np.full(len(self.names), np.nan, np.float32)
        return (
            np.stack([self.values.get(int(i), unknown) for i in identity])
            if len(identity)
            else np.zeros((0, len(self.names)), np.float32)
        )


def read(path: str | os.PathLike, *, age: str = 'binary') -> tuple[Table, Table]:
    """Reads the tables of the training and the test identities, with the same columns.

    The columns are in the order of the training part's fields. Fields are read by name, since their
    order differs between the two parts. Binary fields are coded 1 = no, 2 = yes. A 0, of which Duke
    has two, means "not annotated" and counts as no. An identity may have no colour, or several.

    Args:
      age: coding of Market's age, which has four levels (young, teenager, adult, old). 'binary':
        one column, 1 for adult and old, so that Market has the papers' 27 binary attributes.
        'scaled': one column with 0, 1/3, 2/3, 1. 'levels': one column per level, 30 in all. Duke
        has no age.

    Raises:
      ValueError: the file is not of this form, the fields of the parts differ, or a code is outside
        1..2 (age 1..4).

    The papers (TJ-AIDL, section 4) count 27 and 23 binary attributes and do not say how age becomes
    one of them.
    """
    if age not in ('binary', 'scaled', 'levels'):
        raise ValueError(
            f"age is {age!r}; expected 'binary' (adult or old), 'scaled' (0, 1/3, 2/3, 1) or"
            " 'levels' (one column a level)"
        )
    from scipy.io import loadmat

    if not pathlib.Path(path).is_file():
        raise FileNotFoundError(f'no attribute file {path}')
    try:
        variables = loadmat(path, squeeze_me=True, struct_as_record=False)
    # The parser raises errors of many types for a damaged file.
    except Exception as error:
        raise ValueError(
            f'{path} cannot be read as a MATLAB file: {error or type(error).__name__}'
        ) from error
    structs = [
        value
        for key, value in variables.items()
        if not key.startswith('__') and hasattr(value, 'train') and hasattr(value, 'test')
    ]
    if len(structs) != 1:
        raise ValueError(
            f'{path} holds {sorted(k for k in variables if not k.startswith("__"))}; expected one'
            ' struct with the parts train and test'
        )
    parts = structs[0].train, structs[0].test
    try:
        fields = [[f for f in part._fieldnames if f != 'image_index'] for part in parts]
        if set(fields[0]) != set(fields[1]):
            raise ValueError(
                f'{path}: the fields {sorted(set(fields[0]) ^ set(fields[1]))} are in one of train'
                ' and test only'
            )
        train, test = (_table(part, fields[0], age, str(path)) for part in parts)
    except (AttributeError, TypeError) as error:
        raise ValueError(
            f'{path}: train or test is not as expected, a struct of image_index and one array a'
            f' field: {error}'
        ) from error
    return train, test


def find(
    option: bool | str | os.PathLike | None, filename: str, folders: tuple[pathlib.Path, ...]
) -> pathlib.Path | None:
    """Returns the annotation file that an option `attributes` means, or None.

    A path is returned as it is. With None, the file is used if one of the folders has it. With
    True, one of them must have it. With False, there is none.
    """
    if option is False:
        return None
    if option is not None and option is not True:
        return pathlib.Path(option)
    for folder in folders:
        if (folder / filename).is_file():
            return folder / filename
    if option:
        raise FileNotFoundError(
            f'{filename} lies in none of {", ".join(dict.fromkeys(map(str, folders)))}; give its'
            ' path: attributes=PATH'
        )
    return None


def _table(part: object, fields: list[str], age: str, source: str) -> Table:
    names: list[str] = []
    columns: list[np.ndarray] = []
    identities = [int(i) for i in np.atleast_1d(part.image_index)]  # type: ignore[attr-defined]
    for field in fields:
        codes = np.atleast_1d(getattr(part, field))
        low, high = (1, 4) if field == 'age' else (0, 2)
        if codes.shape != (len(identities),) or not np.isin(codes, np.arange(low, high + 1)).all():
            raise ValueError(
                f'{source}: {field} has shape {codes.shape} and values {np.unique(codes)[:6]};'
                f' expected {len(identities)} codes {low}..{high}'
            )
        if field != 'age':
            names.append(field)
            columns.append(codes == 2)
        elif age == 'levels':
            names.extend(AGES)
            columns.extend(codes == level for level in range(1, 5))
        else:
            names.append('age')
            columns.append(codes >= 3 if age == 'binary' else (codes.astype(np.float32) - 1) / 3)
    values = np.stack(columns, 1).astype(np.float32)
    return Table(tuple(names), dict(zip(identities, values, strict=True)), source)
