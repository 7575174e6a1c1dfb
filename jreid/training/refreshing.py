"""Calls a system's refresh on the features of the training splits, and checks what it gives."""

from collections.abc import Mapping

from jreid.engine import returns, sharding
from jreid.engine.feeds import Feed
from jreid.engine.state import TrainState
from jreid.methods.contract import SOURCE, TARGET, RefreshContext, Refreshed
from jreid.run.system import System
from jreid.training import measuring, preflight


def refreshed(
    system: System,
    state: TrainState,
    feeds: Mapping[str, Feed],
    number: int,
    context: RefreshContext,
) -> Refreshed:
    """Returns the pseudo labels of the target's training images and what follows them.

    Args:
      feeds: domain -> its training images.
      number: of refreshes before this one.

    Raises:
      ValueError: see `preflight.check_refreshed`; or the refresh looks for what is not there.
    """
    method = system.method
    described = {
        domain: measuring.described(system, state, feeds[domain], domain)
        for domain in method.reads(number)
    }
    local = sharding.local({'params': state.params, 'state': state.state})
    params, model = local['params'], local['state']
    assert method.refresh is not None
    with returns.naming('Method.refresh', **described, memory=model.memory):
        result = method.refresh(
            params, model, described.get(SOURCE), described.get(TARGET), context
        )
    preflight.check_refreshed(
        result,
        params,
        model,
        images=len(feeds[TARGET].index),
        columns=method.label_columns,
        source_identities=system.problem.source_identities,
    )
    return result
