'use strict';
// The sections with numbers: tables, curves and the config.

function summary() {
  const metrics = [
    ['mAP', 'mAP'],
    ['rank1', 'rank-1'],
    ['rank5', 'rank-5'],
    ['rank10', 'rank-10'],
    ['rank20', 'rank-20'],
    ['mINP', 'mINP'],
  ];
  const rows = runs.flatMap((run) =>
    Object.entries(run.rows).map(([name, row]) => [
      ...(several ? [run.name, name] : [name]),
      ...metrics.map(([key]) => (key in row ? row[key].toFixed(1) : '')),
      row.queries === undefined ? '' : count(row.queries),
    ]),
  );
  const facts = [
    'variant',
    'source',
    'target',
    'seed',
    'average_precision',
    'identities_estimated',
    'identities_true',
    'steps',
    'images_seen',
  ];
  const factRows = runs.map((run) => [
    run.name,
    ...facts.map((name) => (run.summary[name] === undefined ? '' : String(run.summary[name]))),
    run.timing.seconds === undefined ? '' : `${(run.timing.seconds / 60).toFixed(1)} min`,
    run.machine.device ? `${run.machine.devices} × ${run.machine.device}` : '',
  ]);
  return [
    rows.length
      ? table(
          'Retrieval on the target, percent',
          [...(several ? ['run', 'row'] : ['row']), ...metrics.map(([, name]) => name), 'queries'],
          rows,
          { left: several ? [0, 1] : [0] },
        )
      : null,
    h('h3', {}, several ? 'Runs' : 'Run'),
    table(
      '',
      ['run', ...facts.map((name) => name.replaceAll('_', ' ')), 'time', 'device'],
      factRows,
      {
        left: [0, 1, 2, 3],
      },
    ),
  ];
}

function cmc() {
  const series = runs.flatMap((run) =>
    Object.entries(run.cmc).map(([name, curve]) => ({
      name: several ? `${run.name}, ${name}` : name,
      x: curve.slice(0, 20).map((_, i) => i + 1),
      y: curve.slice(0, 20).map((value) => 100 * value),
    })),
  );
  return series.length
    ? chart({
        title: 'Cumulative match characteristic',
        x: 'rank',
        y: 'matching rate (%)',
        series,
        high: 100,
        markers: true,
      })
    : null;
}

// Shares of the same and of the different pairs by distance, and the thresholds between them.
function distances(found) {
  const { edges, same, different } = found.histogram,
    filled = same.map((value, i) => (value + different[i] > 0 ? i : -1)).filter((i) => i >= 0),
    bins = Array.from(
      { length: filled.at(-1) - filled[0] + 1 },
      (_, i) => filled[0] + i,
    );
  const line = (name, counts, total) => ({
    name: `${name}, ${count(total)} pairs`,
    x: bins.map((i) => (edges[i] + edges[i + 1]) / 2),
    y: bins.map((i) => (100 * counts[i]) / total),
  });
  const thresholds = Object.entries(found.thresholds).map(([rate, at]) => [`FPR ${rate}`, at]);
  return chart({
    title: 'Distances of pairs, with thresholds',
    x: 'distance',
    y: 'share of the pairs per bin (%)',
    series: [
      line('same person', same, found.same),
      line('different people', different, found.different),
    ],
    events: [...thresholds, ['EER', found.eer_threshold]]
      .filter(([, at]) => at !== null)
      .map(([what, at]) => ({ at, what })),
    low: 0,
  });
}

function verification() {
  const rows = runs.flatMap((run) =>
    Object.entries(run.verification).map(([name, found]) => ({
      name: several ? `${run.name}, ${name}` : name,
      found,
    })),
  );
  if (!rows.length) return null;
  const rates = [...new Set(rows.flatMap(({ found }) => Object.keys(found.tpr)))],
    percent = (value) => (typeof value === 'number' ? value.toFixed(1) : '–');
  return [
    table(
      'True positive rates at false positive rates, percent, and the thresholds that reach them',
      ['row', ...rates.flatMap((rate) => [`FPR ${rate}`, 'distance']), 'EER', 'AUC'],
      rows.map(({ name, found }) => [
        name,
        ...rates.flatMap((rate) => [percent(found.tpr[rate]), short(found.thresholds[rate])]),
        percent(found.eer),
        percent(found.auc),
      ]),
    ),
    ...chosen(rows, ({ found }) => distances(found)),
  ];
}

function curves() {
  const titles = {
    loss: ['Loss terms', 'loss'],
    rate: ['Learning rate', 'rate'],
    score: ['Retrieval while training', '%'],
  };
  return chosen(
    runs.filter((run) => Object.keys(run.curves.panels).length),
    (run) =>
      h(
        'div',
        { class: 'grid' },
        Object.entries(run.curves.panels).map(([panel, series]) =>
          chart({
            title: titles[panel][0],
            x: 'step',
            y: titles[panel][1],
            series,
            events: run.curves.events,
            log: panel === 'loss',
            low: panel === 'rate' ? 0 : null,
            markers: panel === 'score',
          }),
        ),
      ),
  );
}

function sweeps() {
  return chosen(
    runs.filter((run) => run.sweeps.length),
    (run) => {
      const place = h('div', { class: 'grid' });
      const show = (i) => {
        const sweep = run.sweeps[i],
          line = (name, y) => [{ name, x: sweep.total, y }];
        const estimate = run.summary.identities_estimated ?? '–';
        const truth = run.summary.identities_true ?? '–';
        place.replaceChildren(
          chart({
            title: `ACC on the probes, ${sweep.name}`,
            x: 'C, clusters in total',
            y: 'ACC',
            series: line('ACC', sweep.accuracy),
            markers: true,
          }),
          chart({
            title: `CMM, mean silhouette of the target, ${sweep.name}`,
            x: 'C, clusters in total',
            y: 'CMM',
            series: line('CMM', sweep.silhouette),
            markers: true,
          }),
          h(
            'p',
            { class: 'note' },
            `The last estimate: ${estimate} target identities;` +
              ` true, for evaluation only: ${truth}.`,
          ),
        );
      };
      const control = select(
        run.sweeps.map((sweep, i) => [i, sweep.name]),
        () => show(Number(control.value)),
      );
      control.value = run.sweeps.length - 1;
      show(run.sweeps.length - 1);
      return [h('div', { class: 'controls' }, labelled('sweep', control)), place];
    },
  );
}

function attributes() {
  const cell = (value) => (typeof value === 'number' ? value.toFixed(1) : '–');
  return chosen(
    runs.filter((run) => run.attributes.length),
    (run) =>
      run.attributes.map((scores) =>
        table(
          scores.title,
          ['', ...scores.columns],
          [...scores.body, ['mean', scores.last]].map(([name, values]) => [
            name,
            ...values.map(cell),
          ]),
        ),
      ),
  );
}

function config() {
  const names = [...new Set(runs.flatMap((run) => Object.keys(run.config)))],
    differ = new Set(data.differ),
    place = h('div', {});
  const filter = h('input', { type: 'search', placeholder: 'part of a name', oninput: show }),
    only = h('input', { type: 'checkbox', onchange: show });
  function show() {
    const shown = names.filter(
      (name) => name.includes(filter.value.trim()) && (!only.checked || differ.has(name)),
    );
    place.replaceChildren(
      table(
        '',
        ['field', ...runs.map((run) => run.name)],
        shown.map((name) => [
          name,
          ...runs.map((run) =>
            differ.has(name) ? h('mark', {}, run.config[name] ?? 'none') : (run.config[name] ?? ''),
          ),
        ]),
        { left: runs.map((_, i) => i + 1) },
      ),
    );
  }
  show();
  return [
    h(
      'div',
      { class: 'controls' },
      labelled('field', filter),
      several ? labelled('only what differs', only, true) : null,
    ),
    place,
  ];
}
