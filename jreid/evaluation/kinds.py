"""Says of which model a summary's row is: rows have names for people, and a kind for programs."""

from collections.abc import Mapping
from typing import Any

MODEL, ADABN, RERANKED = 'model', 'adabn', 'reranked'
"""Values of a row's `kind`: of the model as it was trained; of the source-only model with the
target's batch-norm statistics; of the model's features after re-ranking."""

_NAMES = {'adabn': ADABN} | {
    f'{model}_reranked': RERANKED for model in ('source_only', 'adapted', 'supervised', 'evaluated')
}


def kind_of(name: str, row: Mapping[str, Any]) -> str:
    """Returns the kind of a summary's row.

    Args:
      name: of the row; read where the summary was written before rows had a kind.
    """
    return row.get('kind') or _NAMES.get(name, MODEL)
