'use strict';
// The sections of the page, from the data that Python put into it.
const data = JSON.parse(document.getElementById('data').textContent);
const runs = data.runs, several = runs.length > 1;
let pictures = null;

function picture(number, words) {
  pictures = pictures || JSON.parse(document.getElementById('pictures').textContent);
  if (!pictures[number]) return h('div', { class: 'blank', role: 'img', 'aria-label': `${words}; the image could not be read` }, '?');
  return h('img', { src: `data:${data.media};base64,${pictures[number]}`, alt: words, loading: 'lazy', decoding: 'async' });
}

function section(id, title, ...children) {
  const filled = children.flat().filter(Boolean);
  if (!filled.length) return;
  document.getElementById('nav').append(h('a', { href: `#${id}` }, title));
  document.getElementById('main').append(h('section', { id, 'aria-labelledby': `${id}-title` }, h('h2', { id: `${id}-title` }, title), filled));
}

function labelled(words, control, row = false) {
  return h('label', { class: row ? 'row' : null }, row ? [control, words] : [words, control]);
}

function select(options, onchange) {
  return h('select', { onchange }, options.map(([value, words]) => h('option', { value }, words)));
}

// One run at a time: `draw(run)` is called with the chosen one of those that have something to show.
function chosen(having, draw) {
  if (!having.length) return null;
  const place = h('div', {});
  const show = (i) => place.replaceChildren(...[draw(having[i])].flat().filter(Boolean));
  show(0);
  if (having.length === 1) return [several ? h('p', { class: 'told' }, having[0].name) : null, place].filter(Boolean);
  const control = select(having.map((run, i) => [i, run.name]), () => show(Number(control.value)));
  return [h('div', { class: 'controls' }, labelled('run', control)), place];
}

function pages(found, size, draw) {
  const place = h('div', {}), said = h('span', { class: 'told', role: 'status' });
  let first = 0;
  const move = (by) => { first = Math.min(Math.max(first + by, 0), Math.max(0, Math.floor((found.length - 1) / size) * size)); show(); };
  const back = h('button', { type: 'button', onclick: () => move(-size) }, 'Previous'), on = h('button', { type: 'button', onclick: () => move(size) }, 'Next');
  function show() {
    place.replaceChildren(draw(found.slice(first, first + size)));
    said.textContent = found.length ? `${first + 1}–${Math.min(first + size, found.length)} of ${found.length}` : 'none';
    back.disabled = first === 0;
    on.disabled = first + size >= found.length;
  }
  show();
  return h('div', {}, h('div', { class: 'controls' }, back, on, said), place);
}

// -- numbers --------------------------------------------------------------------------------------------------------------------------------------

function summary() {
  const metrics = [['mAP', 'mAP'], ['rank1', 'rank-1'], ['rank5', 'rank-5'], ['rank10', 'rank-10'], ['rank20', 'rank-20'], ['mINP', 'mINP']];
  const rows = runs.flatMap((run) => Object.entries(run.rows).map(([name, row]) =>
    [...(several ? [run.name, name] : [name]), ...metrics.map(([key]) => (key in row ? row[key].toFixed(1) : '')), row.queries === undefined ? '' : row.queries.toLocaleString('en')]));
  const facts = ['variant', 'source', 'target', 'seed', 'average_precision', 'identities_estimated', 'identities_true', 'steps', 'images_seen'];
  const told = runs.map((run) => [run.name, ...facts.map((name) => (run.summary[name] === undefined ? '' : String(run.summary[name]))),
    run.timing.seconds === undefined ? '' : `${(run.timing.seconds / 60).toFixed(1)} min`, run.machine.device ? `${run.machine.devices} × ${run.machine.device}` : '']);
  return [rows.length ? table('Retrieval on the target, percent', [...(several ? ['run', 'row'] : ['row']), ...metrics.map(([, name]) => name), 'queries'], rows, { left: several ? [0, 1] : [0] }) : null,
    h('h3', {}, several ? 'Runs' : 'Run'), table('', ['run', ...facts.map((name) => name.replaceAll('_', ' ')), 'time', 'device'], told, { left: [0, 1, 2, 3] })];
}

function cmc() {
  const series = runs.flatMap((run) => Object.entries(run.cmc).map(([name, curve]) =>
    ({ name: several ? `${run.name}, ${name}` : name, x: curve.slice(0, 20).map((_, i) => i + 1), y: curve.slice(0, 20).map((value) => 100 * value) })));
  return series.length ? chart({ title: 'Cumulative match characteristic', x: 'rank', y: 'matching rate (%)', series, high: 100, markers: true }) : null;
}

function curves() {
  const titles = { loss: ['Loss terms', 'loss'], rate: ['Learning rate', 'rate'], score: ['Retrieval while training', '%'] };
  return chosen(runs.filter((run) => Object.keys(run.curves.panels).length), (run) => h('div', { class: 'grid' }, Object.entries(run.curves.panels).map(([panel, series]) =>
    chart({ title: titles[panel][0], x: 'step', y: titles[panel][1], series, events: run.curves.events, log: panel === 'loss', low: panel === 'rate' ? 0 : null, markers: panel === 'score' }))));
}

function sweeps() {
  return chosen(runs.filter((run) => run.sweeps.length), (run) => {
    const place = h('div', { class: 'grid' });
    const show = (i) => {
      const found = run.sweeps[i], line = (name, y) => [{ name, x: found.total, y }];
      const truth = run.summary.identities_true;
      place.replaceChildren(chart({ title: `ACC on the probes, ${found.name}`, x: 'C, clusters in total', y: 'ACC', series: line('ACC', found.accuracy), markers: true }),
        chart({ title: `CMM, mean silhouette of the target, ${found.name}`, x: 'C, clusters in total', y: 'CMM', series: line('CMM', found.silhouette), markers: true }),
        h('p', { class: 'told' }, `The last estimate: ${run.summary.identities_estimated ?? '–'} target identities; true, for evaluation only: ${truth ?? '–'}.`));
    };
    const control = select(run.sweeps.map((found, i) => [i, found.name]), () => show(Number(control.value)));
    control.value = run.sweeps.length - 1;
    show(run.sweeps.length - 1);
    return [h('div', { class: 'controls' }, labelled('sweep', control)), place];
  });
}

// -- images ---------------------------------------------------------------------------------------------------------------------------------------

function strip(query) {
  const person = (id, camera) => `id ${id}${camera >= 0 ? `, cam ${camera + 1}` : ''}`;
  const cells = query.images.map((number, i) => h('div', { class: `cell ${query.right[i] ? 'right' : 'wrong'}` },
    picture(number, `rank ${i + 1}, ${query.right[i] ? 'right' : 'wrong'}: ${person(query.ids[i], query.cameras[i])}`),
    h('b', {}, `${i + 1} ${query.right[i] ? '✓' : '✗'}`), ` ${person(query.ids[i], query.cameras[i])}`, h('br'), query.distances[i]));
  return h('li', { class: 'result' }, h('div', { class: 'told' }, `${query.name} · ${query.ap === null ? 'no match in the gallery' : `AP ${query.ap} %`}`), h('div', { class: 'strip' },
    h('div', { class: 'cell query' }, picture(query.image, `query: ${person(query.id, query.camera)}`), h('b', {}, 'query'), ` ${person(query.id, query.camera)}`), cells));
}

function ranked() {
  return chosen(runs.filter((run) => run.ranked), (run) => {
    const all = run.ranked.queries, place = h('div', {});
    const cameras = [...new Set(all.map((query) => query.camera))].filter((camera) => camera >= 0).sort((a, b) => a - b);
    const wrong = h('input', { type: 'checkbox', class: 'wrong-only', onchange: show });
    const camera = select([['', 'all'], ...cameras.map((number) => [number, String(number + 1)])], show);
    const identity = h('input', { type: 'search', inputmode: 'numeric', placeholder: 'e.g. 42', oninput: show });
    const order = select([['', 'as in the set'], ['worst', 'lowest AP first'], ['best', 'highest AP first']], show);
    function show() {
      const id = identity.value.trim();
      const found = all.filter((query) => (!wrong.checked || (query.ap !== null && !query.right[0])) && (camera.value === '' || query.camera === Number(camera.value)) && (id === '' || String(query.id) === id));
      if (order.value) found.sort((a, b) => (order.value === 'worst' ? 1 : -1) * ((a.ap ?? 1e9) - (b.ap ?? 1e9)));
      place.replaceChildren(pages(found, 20, (some) => h('ul', { class: 'results' }, some.map(strip))));
    }
    show();
    return [h('p', { class: 'told' }, `${all.length.toLocaleString('en')} of ${run.ranked.total.toLocaleString('en')} queries. Right: solid frame and ✓; wrong: dashed frame and ✗.`),
      h('div', { class: 'controls', role: 'search', 'aria-label': 'Filter of queries' }, labelled('wrong at rank 1 only', wrong, true), labelled("query's camera", camera), labelled('identity', identity), labelled('order', order)), place];
  });
}

function clusters() {
  return chosen(runs.filter((run) => run.clusters), (run) => {
    const found = run.clusters, place = h('div', {});
    const least = h('input', { type: 'number', min: 1, value: 1, oninput: show }), label = h('input', { type: 'search', inputmode: 'numeric', placeholder: 'number', oninput: show });
    const group = (one, name) => h('li', { class: 'cluster' }, h('h3', {}, name, h('span', { class: 'told' }, ` ${one.count.toLocaleString('en')} images`)),
      h('div', { class: 'strip' }, one.images.map((number, i) => h('div', { class: 'cell' }, picture(number, `${name}, image ${i + 1}`)))));
    function show() {
      const wanted = label.value.trim();
      const some = found.clusters.filter((one) => one.count >= Number(least.value || 1) && (wanted === '' || String(one.label) === wanted));
      place.replaceChildren(pages(some, 20, (part) => h('ul', { class: 'results' }, part.map((one) => group(one, `cluster ${one.label}`)))));
    }
    show();
    const sizes = { name: 'images', x: found.sizes.map((_, i) => i + 1), y: found.sizes };
    return [h('p', { class: 'told' }, `${found.file}: ${found.total.toLocaleString('en')} clusters, ${found.outside.count.toLocaleString('en')} images without a label; the ${found.clusters.length} largest are here.`),
      found.sizes.length ? h('details', {}, h('summary', {}, 'Sizes of all clusters'), chart({ title: 'Sizes of clusters, largest first', x: 'cluster', y: 'images', series: [sizes], low: 0 })) : null,
      found.outside.count ? h('details', {}, h('summary', {}, 'Images without a label'), h('ul', { class: 'results' }, group(found.outside, 'without a label'))) : null,
      h('div', { class: 'controls' }, labelled('cluster', label), labelled('at least so many images', least)), place];
  });
}

// -- tables ---------------------------------------------------------------------------------------------------------------------------------------

function attributes() {
  const cell = (value) => (typeof value === 'number' ? value.toFixed(1) : '–');
  return chosen(runs.filter((run) => run.attributes.length), (run) => run.attributes.map((found) =>
    table(found.title, ['', ...found.columns], [...found.body, ['mean', found.last]].map(([name, values]) => [name, ...values.map(cell)]))));
}

function config() {
  const names = [...new Set(runs.flatMap((run) => Object.keys(run.config)))], differ = new Set(data.differ), place = h('div', {});
  const filter = h('input', { type: 'search', placeholder: 'part of a name', oninput: show }), only = h('input', { type: 'checkbox', onchange: show });
  function show() {
    const shown = names.filter((name) => name.includes(filter.value.trim()) && (!only.checked || differ.has(name)));
    place.replaceChildren(table('', ['field', ...runs.map((run) => run.name)], shown.map((name) => [name, ...runs.map((run) => (differ.has(name) ? h('mark', {}, run.config[name] ?? 'none') : run.config[name] ?? ''))]),
      { left: runs.map((_, i) => i + 1) }));
  }
  show();
  return [h('div', { class: 'controls' }, labelled('field', filter), several ? labelled('only what differs', only, true) : null), place];
}

document.querySelector('noscript')?.remove();
section('summary', 'Summary', summary());
section('cmc', 'CMC', cmc());
section('curves', 'Curves', curves());
section('sweeps', 'Number of identities', sweeps());
section('ranked', 'Ranked results', ranked());
section('clusters', 'Clusters', clusters());
section('attributes', 'Attributes and parts', attributes());
section('config', 'Config', config());
document.documentElement.dataset.ready = 'true';
