'use strict';
// The page: its data, its controls, and its sections in order.
const data = JSON.parse(document.getElementById('data').textContent);
const runs = data.runs,
  several = runs.length > 1;
let pictures = null;

function shown(number, words, attributes = {}) {
  pictures = pictures || JSON.parse(document.getElementById('pictures').textContent);
  if (!pictures[number])
    return h(
      'div',
      { class: 'blank', role: 'img', 'aria-label': `${words}; the image could not be read` },
      '?',
    );
  return h('img', {
    src: `data:${data.media};base64,${pictures[number]}`,
    alt: words,
    ...attributes,
  });
}

// A picture that opens larger, with the path of its file.
function picture(number, words) {
  const image = shown(number, words, { loading: 'lazy', decoding: 'async' });
  return h(
    'button',
    { type: 'button', class: 'open', title: 'enlarge', onclick: () => enlarge(number, words) },
    image,
  );
}

const zoom = h('dialog', { class: 'zoom', 'aria-label': 'Image' });
// A click beside the content closes it, as Escape does.
zoom.addEventListener('click', (event) => {
  if (event.target === zoom) zoom.close();
});

function enlarge(number, words) {
  const path = data.paths[number] || '';
  const file = `file://${encodeURI(path).replace(/[?#]/g, encodeURIComponent)}`;
  zoom.replaceChildren(
    h(
      'div',
      { class: 'content' },
      shown(number, words),
      h('p', {}, words),
      h('p', {}, h('code', {}, path)),
      h(
        'div',
        { class: 'controls' },
        path.startsWith('/')
          ? h('a', { href: file, target: '_blank' }, 'Full size, from the disk')
          : null,
        h('button', { type: 'button', onclick: () => zoom.close() }, 'Close'),
      ),
    ),
  );
  zoom.showModal();
}

function section(id, title, ...children) {
  const filled = children.flat().filter(Boolean);
  if (!filled.length) return;
  document.getElementById('nav').append(h('a', { href: `#${id}` }, title));
  document
    .getElementById('main')
    .append(
      h(
        'section',
        { id, 'aria-labelledby': `${id}-title` },
        h('h2', { id: `${id}-title` }, title),
        filled,
      ),
    );
}

function labelled(words, control, row = false) {
  return h('label', { class: row ? 'row' : null }, row ? [control, words] : [words, control]);
}

function select(options, onchange) {
  return h(
    'select',
    { onchange },
    options.map(([value, words]) => h('option', { value }, words)),
  );
}

// Shows one run at a time: `draw(run)` makes the section of the chosen run, which the address keeps
// under the section's name. `what` says what the candidates are, `first` which one is shown first.
function chosen(name, candidates, draw, what = 'run', first = 0) {
  if (!candidates.length) return null;
  const place = h('div', {});
  const show = (i) => place.replaceChildren(...[draw(candidates[i])].flat().filter(Boolean));
  if (candidates.length === 1) {
    show(0);
    return [several ? h('p', { class: 'note' }, candidates[0].name) : null, place].filter(Boolean);
  }
  const control = select(
    candidates.map((run, i) => [i, run.name]),
    () => show(Number(control.value)),
  );
  control.value = first;
  keep(control, `${name}.${what}`);
  show(Number(control.value));
  return [h('div', { class: 'controls' }, labelled(what, control)), place];
}

function pages(items, size, draw) {
  const place = h('div', {}),
    status = h('span', { class: 'note', role: 'status' });
  let first = 0;
  const move = (by) => {
    first = Math.min(
      Math.max(first + by, 0),
      Math.max(0, Math.floor((items.length - 1) / size) * size),
    );
    show();
  };
  const back = h('button', { type: 'button', onclick: () => move(-size) }, 'Previous'),
    on = h('button', { type: 'button', onclick: () => move(size) }, 'Next');
  function show() {
    place.replaceChildren(draw(items.slice(first, first + size)));
    status.textContent = items.length
      ? `${first + 1}–${Math.min(first + size, items.length)} of ${items.length}`
      : 'none';
    back.disabled = first === 0;
    on.disabled = first + size >= items.length;
  }
  show();
  return h('div', {}, h('div', { class: 'controls' }, back, on, status), place);
}

function count(value) {
  return value.toLocaleString('en');
}

document.querySelector('noscript')?.remove();
section('summary', 'Summary', summary());
section('cmc', 'CMC', cmc());
section('verification', 'Same person or not', verification());
section('curves', 'Curves', curves());
section('sweeps', 'Number of identities', sweeps());
section('ranked', 'Ranked results', ranked());
section('clusters', 'Clusters', clusters());
section('features', 'Features', features());
section('attributes', 'Attributes and parts', attributes());
section('config', 'Config', config());
document.body.append(zoom);
// Headings stop below the header, however many lines it has.
const header = document.querySelector('header');
new ResizeObserver(() =>
  document.documentElement.style.setProperty('--header', `${header.offsetHeight}px`),
).observe(header);
document.documentElement.style.setProperty('--header', `${header.offsetHeight}px`);
if (location.hash.includes('?')) document.getElementById(address.section())?.scrollIntoView();
document.documentElement.dataset.ready = 'true';
