"""MTDnet's passes: whose images its network and the source's copy see, and what they leave."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from mtdnet_case import images_of, method_of
from stub_network import Stub

from jreid.methods import mtdnet
from jreid.methods.contract import SOURCE, TARGET, Context, State
from jreid.methods.mtdnet_terms import keys_of

PARAMS = {'backbone': 2.0, mtdnet.COPY: {'backbone': 3.0}}
STATE = State({SOURCE: {'backbone': 10.0}, TARGET: {'backbone': 20.0}}, {})
BATCH = {SOURCE: {'image': np.full(4, 5.0)}, TARGET: {'image': np.full(2, 7.0)}}
CONTEXT = Context(jax.random.key(1), np.float32(0))


def keys(network):
    return [jax.random.key_data(call['rngs']['dropout']).tolist() for call in network.calls]


def data(key):
    return jax.random.key_data(key).tolist()


@pytest.mark.parametrize(('domain', 'value'), [(SOURCE, 2 * 20), (TARGET, 2 * 14)])
def test_one_domain_moves_its_own_statistics(domain, value):
    network = Stub('logits')
    forward = mtdnet._forward_one(network, mtdnet.Settings(triplets_per_pair=3), domain)
    outputs, state = forward(PARAMS, STATE, BATCH, CONTEXT)
    assert outputs == {domain: {'logits': value}}
    moved = 0.9 * STATE.statistics[domain]['backbone'] + 0.1 * BATCH[domain]['image'][0]
    assert state.statistics == {**STATE.statistics, domain: {'backbone': pytest.approx(moved)}}
    assert [(call['train'], call['group']) for call in network.calls] == [(True, 5)]
    assert keys(network) == [data(CONTEXT.key)]


def test_the_union_is_one_set_of_the_target():
    network = Stub('logits')
    forward = mtdnet._forward_union(network, mtdnet.Settings(triplets_per_pair=3))
    outputs, state = forward(PARAMS, STATE, BATCH, CONTEXT)
    assert outputs == {mtdnet.UNION: {'logits': pytest.approx(2 * (20 + 14))}}
    mean = pytest.approx(0.9 * 20 + 0.1 * 34 / 6)
    assert state.statistics == {**STATE.statistics, TARGET: {'backbone': mean}}
    assert keys(network) == [data(CONTEXT.key)]


@pytest.mark.parametrize('source_copy', ['frozen', 'trained'])
def test_each_copy_sees_its_domain(source_copy):
    """The copy of the source gives what it gives in training or with its kept statistics; each has
    dropout of its own.
    """
    network, trained = Stub('logits'), source_copy == 'trained'
    forward = mtdnet._forward_copies(network, mtdnet.Settings(source_copy=source_copy))

    def value(params):
        outputs, state = forward(params, STATE, BATCH, CONTEXT)
        return outputs[SOURCE]['logits'] + 0 * outputs[TARGET]['logits'], (outputs, state)

    gradient, (outputs, state) = jax.grad(value, has_aux=True)(PARAMS)
    assert float(outputs[TARGET]['logits']) == 2 * 14
    assert float(outputs[SOURCE]['logits']) == 3 * 20 + (0 if trained else 1000)
    assert float(gradient[mtdnet.COPY]['backbone']) == (20 if trained else 0)
    assert float(gradient['backbone']) == 0
    assert state.statistics[TARGET]['backbone'] == pytest.approx(0.9 * 20 + 0.1 * 7)
    moved = 0.9 * 10 + 0.1 * 5 if trained else 10
    assert state.statistics[SOURCE]['backbone'] == pytest.approx(moved)
    assert [call['train'] for call in network.calls] == [True, trained]
    own = keys_of(CONTEXT)
    assert keys(network) == [data(own[TARGET]), data(own[SOURCE])]


@pytest.mark.parametrize('source_copy', ['frozen', 'trained'])
def test_the_copies_begin_alike_and_the_sources_losses_count_where_it_learns(source_copy):
    phase = method_of('mtdnet-cross', source_copy=source_copy).phases[-1]
    params, state = phase.start(PARAMS, STATE)
    assert params == {'backbone': 2.0, mtdnet.COPY: {'backbone': 2.0}}
    assert state is STATE
    own = {'triplet', 'pairs', 'contrastive'}
    copy = {'source_triplet', 'source_pairs'} if source_copy == 'trained' else set()
    assert set(phase.terms) == own | copy
    rates = phase.optimizer.groups_of({'fc': {'bias': 0.0}, mtdnet.COPY: {'fc': {'bias': 0.0}}})
    expected = 'biases' if source_copy == 'trained' else 'frozen'
    assert rates == {'fc': {'bias': 'biases'}, mtdnet.COPY: {'fc': {'bias': expected}}}


def test_what_follows_the_shared_map_gives_the_feature():
    method = method_of('mtdnet-cross')

    @jax.jit
    def both(images):
        params, state = method.init(jax.random.key(0))
        shared = method.maps(params, state, images, TARGET)['shared']
        return shared.map, shared.head(shared.map), method.embed(params, state, images, TARGET)

    shared, found, expected = both(jnp.asarray(images_of(2)))
    assert shared.ndim == 4
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert np.ptp(expected) > 0
