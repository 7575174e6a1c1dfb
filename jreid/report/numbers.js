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
    'date',
    'command',
    'version',
    'commit',
  ];
  const known = (run) => ({
    ...run.summary,
    time:
      run.timing.seconds === undefined
        ? undefined
        : `${(run.timing.seconds / 60).toFixed(1)} min`,
    device: run.machine.device ? `${run.machine.devices} × ${run.machine.device}` : undefined,
  });
  const records = runs.map(known);
  const factRows = [...facts, 'time', 'device']
    .filter((name) => records.some((run) => run[name] !== undefined && run[name] !== null))
    .map((name) => [name.replaceAll('_', ' '), ...records.map((run) => String(run[name] ?? '–'))]);
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
    table('', ['', ...runs.map((run) => run.name)], factRows, {
      left: runs.map((_, i) => i + 1),
      plain: true,
    }),
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
function distances(scores) {
  const { edges, same, different } = scores.histogram,
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
  const thresholds = Object.entries(scores.thresholds).map(([rate, at]) => [`FPR ${rate}`, at]);
  return chart({
    title: 'Distances of pairs, with thresholds',
    x: 'distance',
    y: 'share of the pairs per bin (%)',
    series: [
      line('same person', same, scores.same),
      line('different people', different, scores.different),
    ],
    events: [...thresholds, ['EER', scores.eer_threshold]]
      .filter(([, at]) => at !== null)
      .map(([what, at]) => ({ at, what })),
    low: 0,
  });
}

function verification() {
  const rows = runs.flatMap((run) =>
    Object.entries(run.verification).map(([name, scores]) => ({
      name: several ? `${run.name}, ${name}` : name,
      scores,
    })),
  );
  if (!rows.length) return null;
  const rates = [...new Set(rows.flatMap(({ scores }) => Object.keys(scores.tpr)))],
    percent = (value) => (typeof value === 'number' ? value.toFixed(1) : '–');
  return [
    table(
      'True positive rates at false positive rates, percent, and the thresholds that reach them',
      ['row', ...rates.flatMap((rate) => [`FPR ${rate}`, 'distance']), 'EER', 'AUC'],
      rows.map(({ name, scores }) => [
        name,
        ...rates.flatMap((rate) => [percent(scores.tpr[rate]), short(scores.thresholds[rate])]),
        percent(scores.eer),
        percent(scores.auc),
      ]),
    ),
    // The last row is the adapted model's.
    ...chosen('verification', rows, ({ scores }) => distances(scores), 'row', rows.length - 1),
  ];
}

function curves() {
  const titles = {
    loss: ['Loss terms', 'loss'],
    rate: ['Learning rate', 'rate'],
    score: ['Retrieval while training', '%'],
  };
  return chosen(
    'curves',
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

// The totals that a sweep's figures mark: the best of the score, those of the other witnesses, the
// choice and the truth.
function marksOf(sweep, scores, name) {
  let best = -1;
  scores.forEach((value, i) => {
    if (value !== null && (best < 0 || value > scores[best])) best = i;
  });
  return [
    best < 0 ? null : { what: `best ${name} ${sweep.total[best]}`, at: sweep.total[best] },
    sweep.within === undefined ? null : { what: `in cameras ${sweep.within}`, at: sweep.within },
    sweep.densest === undefined ? null : { what: `DBSCAN ${sweep.densest}`, at: sweep.densest },
    sweep.chosen === null ? null : { what: `C* ${sweep.chosen}`, at: sweep.chosen, kind: 'mark' },
    sweep.truth === null ? null : { what: `truth ${sweep.truth}`, at: sweep.truth, kind: 'truth' },
  ].filter(Boolean);
}

function sweeps() {
  return chosen(
    'sweeps',
    runs.filter((run) => run.sweeps.length),
    (run) => {
      const place = h('div', { class: 'grid' });
      const show = (i) => {
        const sweep = run.sweeps[i];
        const scored = (title, name, y) =>
          chart({
            title: `${title}, ${sweep.name}`,
            x: 'C, clusters in total',
            y: name,
            series: [{ name, x: sweep.total, y }],
            events: marksOf(sweep, y, name),
            markers: sweep.total.length <= 60,
          });
        const known = sweep.truth === null ? 'unknown' : sweep.truth - sweep.source;
        place.replaceChildren(
          ...(sweep.accuracy ? [scored('ACC on the probes', 'ACC', sweep.accuracy)] : []),
          scored('CMM, mean silhouette of the target', 'CMM', sweep.silhouette),
          h(
            'p',
            { class: 'note' },
            sweep.chosen === null
              ? ''
              : `C* is ${sweep.chosen} clusters: ${sweep.source} of the source's identities and` +
                  ` an estimate of ${sweep.chosen - sweep.source} people in the target` +
                  ` (true, known to the evaluation only: ${known}).` +
                  (sweep.within && sweep.densest
                    ? ' The choice is the median of three: the best CMM across cameras, the' +
                      ' number of people that the cameras see by themselves, and the most' +
                      ' clusters that DBSCAN finds. A best CMM of 0.5 or more decides alone.'
                    : ''),
          ),
        );
      };
      const control = select(
        run.sweeps.map((sweep, i) => [i, sweep.name]),
        () => show(Number(control.value)),
      );
      control.value = run.sweeps.length - 1;
      keep(control, 'sweeps.of');
      show(Number(control.value));
      return [h('div', { class: 'controls' }, labelled('sweep', control)), place];
    },
  );
}

function features() {
  return chosen(
    'features',
    runs.filter((run) => run.points || run.tsne),
    (run) =>
      run.points
        ? plane(run.points)
        : h(
            'figure',
            {},
            h('figcaption', {}, 'Features, t-SNE'),
            h('img', {
              class: 'whole',
              src: `data:${data.media};base64,${run.tsne}`,
              alt: 'points of the source and of the target, in two dimensions',
            }),
          ),
  );
}

function attributes() {
  const cell = (value) => (typeof value === 'number' ? value.toFixed(1) : '–');
  return chosen(
    'attributes',
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
          { last: 1 },
        ),
      ),
  );
}

function config() {
  const differ = new Set(data.differ),
    all = [...new Set(runs.flatMap((run) => Object.keys(run.config)))],
    // What differs comes first.
    names = [...data.differ, ...all.filter((name) => !differ.has(name))],
    place = h('div', {});
  const filter = keep(
      h('input', { type: 'search', placeholder: 'part of a name', oninput: show }),
      'config.field',
    ),
    only = keep(h('input', { type: 'checkbox', onchange: show }), 'config.differing');
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
