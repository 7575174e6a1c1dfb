"""Plans of tables: teachers before the rows that read their labels, splits by repetition."""

from jreid.tables import catalogue, jobs


def test_teachers_come_once_before_the_rows_that_read_their_labels(tmp_path):
    planned, _ = jobs.plan([catalogue.get('ptl-3')], workdir=tmp_path, pairs=['demo'], seeds=(0, 1))
    by_variant = {job.row.variant: job for job in planned if job.repetition == 1}
    assert by_variant['ptl-bl'].steps == ()
    teacher, label = by_variant['ptl-attr-t'].steps
    assert teacher.command.arguments[0].endswith('teacher_attributes.py:synthetic')
    assert label.command.name == 'label'
    assert by_variant['ptl-attr-t'].config.data.target_teacher == str(label.folder)
    both = by_variant['ptl-attr-st']
    assert [step.command.name for step in both.steps] == ['train', 'label', 'label']
    assert both.config.data.source_teacher != both.config.data.target_teacher
    own, _ = jobs.plan(
        [catalogue.get('ptl-3')],
        workdir=tmp_path,
        pairs=['demo'],
        rows=['ptl-attr-t'],
        fields=['--config.data.target_teacher=mine'],
    )
    assert own[0].steps == ()
    assert own[0].config.data.target_teacher == 'mine'


def test_random_splits_are_the_repetitions(tmp_path):
    planned, _ = jobs.plan(
        [catalogue.get('tjaidl-1')], workdir=tmp_path, pairs=['market2prid'], seeds=(0, 4)
    )
    assert [job.config.data.target_options.split for job in planned] == [0, 4]
