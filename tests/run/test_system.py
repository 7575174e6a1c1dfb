"""What a run trains, built from its config: the system, its jitted functions, the evaluator."""

import dataclasses

import pytest

from jreid.configs import base
from jreid.engine import sharding
from jreid.methods.contract import Problem
from jreid.models import BACKBONES
from jreid.run.system import build_evaluator, build_system

PROBLEM = Problem(image_size=(32, 16), source_identities=20, source_images=80, target_images=60)


@pytest.fixture
def config():
    made = base.get_config('source-only')
    made.model.backbone = 'tiny_cnn'
    return made


def test_every_part_follows_the_config(config):
    config.evaluation.batch, config.evaluation.mirror, config.seed = 7, True, 3
    system = build_system(config, PROBLEM, sharding.make_mesh())
    assert system.method.name == 'dmtnet'
    assert [phase.report_as for phase in system.method.phases] == ['source_only']
    assert system.problem is PROBLEM
    assert system.functions.mirror
    record = BACKBONES['tiny_cnn']
    assert system.preparation.mean == pytest.approx([mean / 255 for mean in record.mean])
    assert system.preparation.std == pytest.approx([std / 255 for std in record.std])
    assert (system.evaluator.batch, system.evaluator.seed) == (7, 3)
    assert system.evaluator.functions is system.functions


def test_an_edit_changes_the_system_before_its_functions_are_made(config):
    def renamed(method):
        return dataclasses.replace(method, name='mine')

    system = build_system(config, PROBLEM, sharding.make_mesh(), renamed)
    assert system.method.name == 'mine'
    assert system.functions.method is system.method


def test_an_evaluator_of_other_settings_shares_the_functions(config):
    system = build_system(config, PROBLEM, sharding.make_mesh())
    config.evaluation.average_precision = 'trapezoid'
    other = build_evaluator(system.functions, sharding.make_mesh(), config.evaluation, seed=1)
    assert other.functions is system.functions
    assert (other.average_precision, system.evaluator.average_precision) == ('trapezoid', 'rank')


def test_settings_and_backbones_that_do_not_exist_are_refused(config):
    config.method.identities_per_batch = 21
    with pytest.raises(ValueError, match='P = 21 identities cannot be drawn from the 20'):
        build_system(config, PROBLEM, sharding.make_mesh())
    config.method.identities_per_batch, config.model.backbone = 16, 'resnet51'
    with pytest.raises(ValueError, match='resnet51'):
        build_system(config, PROBLEM, sharding.make_mesh())
