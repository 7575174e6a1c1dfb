'use strict';
// The sections with images: ranked results and clusters.

function strip(query) {
  const person = (id, camera) => `id ${id}${camera >= 0 ? `, cam ${camera + 1}` : ''}`;
  const cells = query.images.map((number, i) => {
    const verdict = query.right[i] ? 'right' : 'wrong';
    const shown = person(query.ids[i], query.cameras[i]);
    return h(
      'div',
      { class: `cell ${verdict}` },
      picture(number, `rank ${i + 1}, ${verdict}: ${shown}`),
      h('b', {}, `${i + 1} ${query.right[i] ? '✓' : '✗'}`),
      ` ${shown}`,
      h('br'),
      query.distances[i],
    );
  });
  return h(
    'li',
    { class: 'result' },
    h(
      'div',
      { class: 'note' },
      `${query.name} · ${query.ap === null ? 'no match in the gallery' : `AP ${query.ap} %`}`,
    ),
    h(
      'div',
      { class: 'strip' },
      h(
        'div',
        { class: 'cell query' },
        picture(query.image, `query: ${person(query.id, query.camera)}`),
        h('b', {}, 'query'),
        ` ${person(query.id, query.camera)}`,
      ),
      cells,
    ),
  );
}

// How the queries fare: by their camera, and how many have which average precision.
function fare(run) {
  const { cameras, histogram } = run.ranked;
  return [
    cameras.length > 1
      ? table(
          'All queries, by their camera, percent',
          ['camera', 'queries', 'mAP', 'rank-1'],
          cameras.map((one) => [
            one.camera < 0 ? 'unknown' : String(one.camera + 1),
            count(one.queries),
            one.mAP.toFixed(1),
            one.rank1.toFixed(1),
          ]),
        )
      : null,
    histogram
      ? chart({
          title: 'Average precision of all queries',
          x: 'average precision (%)',
          y: 'queries',
          series: [
            {
              name: 'queries',
              x: histogram.map((_, i) => ((i + 0.5) * 100) / histogram.length),
              y: histogram,
            },
          ],
          low: 0,
          bars: true,
        })
      : null,
  ].filter(Boolean);
}

function ranked() {
  return chosen(
    'ranked',
    runs.filter((run) => run.ranked),
    (run) => {
      const all = run.ranked.queries,
        place = h('div', {});
      const cameras = [...new Set(all.map((query) => query.camera))]
        .filter((camera) => camera >= 0)
        .sort((a, b) => a - b);
      const wrong = keep(
        h('input', { type: 'checkbox', class: 'wrong-only', onchange: show }),
        'ranked.wrong',
      );
      const camera = keep(
        // Counted from 1 as the page shows them, in the address too.
        select([['', 'all'], ...cameras.map((number) => [number + 1, String(number + 1)])], show),
        'ranked.camera',
      );
      const identity = keep(
        h('input', {
          type: 'search',
          inputmode: 'numeric',
          placeholder: 'part of a number',
          oninput: show,
        }),
        'ranked.identity',
      );
      const order = keep(
        select(
          [
            ['worst', 'lowest AP first'],
            ['best', 'highest AP first'],
            ['set', 'as in the set'],
          ],
          show,
        ),
        'ranked.order',
      );
      function show() {
        const id = identity.value.trim();
        const shown = all.filter(
          (query) =>
            (!wrong.checked || (query.ap !== null && !query.right[0])) &&
            (camera.value === '' || query.camera === Number(camera.value) - 1) &&
            String(query.id).includes(id),
        );
        if (order.value !== 'set')
          shown.sort(
            (a, b) =>
              (a.ap === null) - (b.ap === null) ||
              (order.value === 'worst' ? 1 : -1) * ((a.ap ?? 0) - (b.ap ?? 0)),
          );
        place.replaceChildren(
          pages(shown, 20, (some) => h('ul', { class: 'results' }, some.map(strip))),
        );
      }
      show();
      return [
        h('div', { class: 'grid' }, fare(run)),
        h(
          'p',
          { class: 'note' },
          `${count(all.length)} of ${count(run.ranked.total)} queries.` +
            ' Right: solid frame and ✓; wrong: dashed frame and ✗.',
        ),
        h(
          'div',
          { class: 'controls', role: 'search', 'aria-label': 'Filter of queries' },
          labelled('wrong at rank 1 only', wrong, true),
          labelled("query's camera", camera),
          labelled('identity', identity),
          labelled('order', order),
        ),
        place,
      ];
    },
  );
}

function clusters() {
  return chosen(
    'clusters',
    runs.filter((run) => run.clusters),
    (run) => {
      const groups = run.clusters,
        place = h('div', {});
      const least = keep(
          h('input', { type: 'number', min: 1, value: 1, oninput: show }),
          'clusters.least',
        ),
        label = keep(
          h('input', {
            type: 'search',
            inputmode: 'numeric',
            placeholder: 'number',
            oninput: show,
          }),
          'clusters.label',
        );
      const purity = (one) =>
        one.purity === undefined
          ? ''
          : `, of ${count(one.people)} ${one.people === 1 ? 'person' : 'people'},` +
            ` purity ${(100 * one.purity).toFixed(0)} %`;
      const group = (one, name) =>
        h(
          'li',
          { class: 'cluster' },
          h(
            'h3',
            {},
            name,
            h('span', { class: 'note' }, ` ${count(one.count)} images${purity(one)}`),
          ),
          h(
            'div',
            { class: 'strip' },
            one.images.map((number, i) =>
              h('div', { class: 'cell' }, picture(number, `${name}, image ${i + 1}`)),
            ),
          ),
        );
      function show() {
        const wanted = label.value.trim();
        const some = groups.clusters.filter(
          (one) =>
            one.count >= Number(least.value || 1) &&
            (wanted === '' || String(one.label) === wanted),
        );
        place.replaceChildren(
          pages(some, 20, (part) =>
            h(
              'ul',
              { class: 'results' },
              part.map((one) => group(one, `cluster ${one.label}`)),
            ),
          ),
        );
      }
      show();
      const sizes = { name: 'images', x: groups.sizes.map((_, i) => i + 1), y: groups.sizes };
      return [
        h(
          'p',
          { class: 'note' },
          `${groups.file}: ${count(groups.total)} clusters,` +
            ` ${count(groups.outside.count)} images without a label.` +
            (groups.clusters.length < groups.total
              ? ` The ${groups.clusters.length} largest are here.`
              : '') +
            (groups.clusters.some((one) => one.purity !== undefined)
              ? ' Purity is the share of the most frequent person; it reads the true identities,' +
                ' for evaluation only.'
              : ''),
        ),
        groups.sizes.length
          ? h(
              'details',
              {},
              h('summary', {}, 'Sizes of all clusters'),
              chart({
                title: 'Sizes of clusters, largest first',
                x: 'cluster',
                y: 'images',
                series: [sizes],
                low: 0,
              }),
            )
          : null,
        groups.outside.count
          ? h(
              'details',
              {},
              h('summary', {}, 'Images without a label'),
              h('ul', { class: 'results' }, group(groups.outside, 'without a label')),
            )
          : null,
        h(
          'div',
          { class: 'controls' },
          labelled('cluster', label),
          labelled('images, at least', least),
        ),
        place,
      ];
    },
  );
}
