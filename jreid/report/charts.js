'use strict';
// Elements and line charts. A chart is a figure with a legend, a readout under the pointer, and its
// numbers as a table for those who cannot see it.
const COLOURS = ['#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#7f7f7f'];
const DASHES = ['', '7 4', '2 3', '9 3 2 3'];

function h(tag, attributes, ...children) {
  const element =
    tag === 'svg' || h.svg.has(tag)
      ? document.createElementNS('http://www.w3.org/2000/svg', tag)
      : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, '');
    else if (value !== false && value !== null && value !== undefined)
      element.setAttribute(name, value);
  }
  element.append(
    ...children.flat().filter((child) => child !== null && child !== undefined && child !== false),
  );
  return element;
}
h.svg = new Set(['path', 'line', 'text', 'circle', 'g']);

function table(caption, head, rows, options = {}) {
  const cell = (value, i) =>
    h(
      i === 0 ? 'th' : 'td',
      i === 0
        ? { scope: 'row' }
        : { class: options.left && options.left.includes(i) ? 'left' : null },
      value,
    );
  return h(
    'div',
    { class: 'scroll' },
    h(
      'table',
      {},
      caption && h('caption', {}, caption),
      h(
        'thead',
        {},
        h(
          'tr',
          {},
          head.map((name, i) =>
            h(
              'th',
              { scope: 'col', class: options.left && options.left.includes(i) ? 'left' : null },
              name,
            ),
          ),
        ),
      ),
      h(
        'tbody',
        {},
        rows.map((row) => h('tr', {}, row.map(cell))),
      ),
    ),
  );
}

function short(value) {
  if (value === null || value === undefined) return '–';
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e5)) return value.toExponential(1);
  return String(Number(value.toPrecision(4)));
}

function ticks(low, high, count, whole = false) {
  const raw = Math.max((high - low) / count, whole ? 1 : 0),
    power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find((factor) => power * factor >= raw * 0.999);
  const values = [];
  for (let value = Math.ceil(low / step - 1e-9) * step; value <= high + step * 1e-9; value += step)
    values.push(Math.abs(value) < step * 1e-9 ? 0 : value);
  return values;
}

// series: [{name, x: [], y: []}], null in y for a gap; events: [{at, what}], vertical lines.
function chart({
  title,
  x,
  y,
  series,
  events = [],
  log = false,
  low = null,
  high = null,
  markers = false,
}) {
  const W = 640,
    H = 300,
    left = 56,
    right = 12,
    top = 26,
    bottom = 40;
  const xs = series.flatMap((one) => one.x);
  let ys = series.flatMap((one) => one.y).filter((value) => value !== null);
  if (!ys.length) return h('p', { class: 'note' }, `${title}: no numbers.`);
  const positive = ys.filter((value) => value > 0);
  const logged =
    log && positive.length === ys.length && Math.max(...positive) > 50 * Math.min(...positive);
  const scale = logged ? Math.log10 : (value) => value;
  let [x0, x1] = [Math.min(...xs), Math.max(...xs)];
  let [y0, y1] = [
    low === null ? scale(Math.min(...ys)) : low,
    high === null ? scale(Math.max(...ys)) : high,
  ];
  if (x0 === x1) {
    x0 -= 1;
    x1 += 1;
  }
  if (y0 === y1) {
    y0 -= Math.abs(y0) / 2 || 1;
    y1 += Math.abs(y1) / 2 || 1;
  }
  const px = (value) => left + ((value - x0) / (x1 - x0)) * (W - left - right);
  const py = (value) => H - bottom - ((scale(value) - y0) / (y1 - y0)) * (H - top - bottom);
  const svg = h('svg', {
    viewBox: `0 0 ${W} ${H}`,
    role: 'img',
    'aria-label':
      `${title}: ${y} against ${x}; ${series.length} lines;` +
      ' the numbers are in the table below',
  });
  const values = logged ? ticks(y0, y1, 4).map((value) => 10 ** value) : ticks(y0, y1, 5);
  for (const value of values) {
    svg.append(
      h('line', { x1: left, x2: W - right, y1: py(value), y2: py(value), stroke: 'var(--line)' }),
      h('text', { x: left - 6, y: py(value) + 4, 'text-anchor': 'end' }, short(value)),
    );
  }
  for (const value of ticks(x0, x1, 10, xs.every(Number.isInteger)))
    svg.append(
      h('text', { x: px(value), y: H - bottom + 17, 'text-anchor': 'middle' }, short(value)),
    );
  svg.append(
    h('text', { x: (left + W - right) / 2, y: H - 6, 'text-anchor': 'middle' }, x),
    h('text', { x: 4, y: 13 }, logged ? `${y} (logarithmic)` : y),
  );
  for (const event of events.filter((one) => one.at >= x0 && one.at <= x1)) {
    const dashed = event.what === 'refresh';
    svg.append(
      h('line', {
        x1: px(event.at),
        x2: px(event.at),
        y1: top,
        y2: H - bottom,
        stroke: 'var(--soft)',
        'stroke-width': dashed ? 0.7 : 1.3,
        'stroke-dasharray': dashed ? '2 4' : null,
      }),
    );
    if (!dashed) svg.append(h('text', { x: px(event.at) + 4, y: top + 10 }, event.what));
  }
  const style = (i) => ({
    stroke: COLOURS[i % COLOURS.length],
    'stroke-dasharray': DASHES[Math.floor(i / COLOURS.length) % DASHES.length] || null,
  });
  series.forEach((one, i) => {
    let path = '',
      down = false;
    one.x.forEach((value, j) => {
      if (one.y[j] === null) {
        down = false;
        return;
      }
      path += `${down ? 'L' : 'M'}${px(value).toFixed(1)} ${py(one.y[j]).toFixed(1)}`;
      down = true;
    });
    svg.append(h('path', { d: path, fill: 'none', 'stroke-width': 2, ...style(i) }));
    if (markers || one.x.length === 1)
      one.x.forEach((value, j) => {
        if (one.y[j] !== null)
          svg.append(
            h('circle', { cx: px(value), cy: py(one.y[j]), r: 3.2, fill: style(i).stroke }),
          );
      });
  });
  const readout = h('div', { class: 'readout', 'aria-hidden': 'true' });
  svg.addEventListener('pointermove', (event) => {
    const box = svg.getBoundingClientRect(),
      at =
        x0 +
        ((((event.clientX - box.left) / box.width) * W - left) / (W - left - right)) * (x1 - x0);
    readout.textContent = series
      .map((one) => {
        let best = 0;
        one.x.forEach((value, j) => {
          if (Math.abs(value - at) < Math.abs(one.x[best] - at)) best = j;
        });
        return `${one.name} ${short(one.y[best])} at ${short(one.x[best])}`;
      })
      .join('   ');
  });
  const legend = h(
    'ul',
    { class: 'legend' },
    series.map((one, i) =>
      h(
        'li',
        {},
        h(
          'svg',
          { viewBox: '0 0 26 10', 'aria-hidden': 'true' },
          h('line', { x1: 0, x2: 26, y1: 5, y2: 5, 'stroke-width': 3, ...style(i) }),
        ),
        one.name,
      ),
    ),
  );
  const numbers = h(
    'details',
    {
      ontoggle: () => {
        if (numbers.open && numbers.children.length === 1) {
          const places = [...new Set(xs)].sort((a, b) => a - b),
            at = series.map((one) => new Map(one.x.map((value, j) => [value, one.y[j]])));
          numbers.append(
            table(
              '',
              [x, ...series.map((one) => one.name)],
              places.map((place) => [
                short(place),
                ...at.map((line) => (line.has(place) ? short(line.get(place)) : '')),
              ]),
            ),
          );
        }
      },
    },
    h('summary', {}, 'Numbers'),
  );
  return h('figure', {}, h('figcaption', {}, title), svg, legend, readout, numbers);
}
