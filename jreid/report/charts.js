'use strict';
// Elements and charts. A chart is a figure as wide as its place, so that its words keep their size
// on a phone, with a legend that hides lines, a readout under the pointer, and its numbers as a
// table for those who cannot see it.
const COLOURS = ['#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#7f7f7f'];
const DASHES = ['', '7 4', '2 3', '9 3 2 3'];
const NARROW = 280,
  WIDE = 736,
  LETTER = 6.8; // pixels, of 12 pixel text

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
h.svg = new Set(['path', 'line', 'text', 'circle', 'g', 'rect']);

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

const stroke = (i) => ({
  stroke: COLOURS[i % COLOURS.length],
  'stroke-dasharray': DASHES[Math.floor(i / COLOURS.length) % DASHES.length] || null,
});

// spec: {title, x, y, series: [{name, x: [], y: []}], events: [{at, what, kind}], log, low, high,
// markers, bars}. null in y is a gap. Events are vertical lines: 'refresh' is thin and without a
// label, 'mark' and 'truth' are bold.
function chart(spec) {
  if (!spec.series.some((one) => one.y.some((value) => value !== null)))
    return h('p', { class: 'note' }, `${spec.title}: no numbers.`);
  const place = h('div', { class: 'plot' }),
    readout = h('div', { class: 'readout', 'aria-hidden': 'true' }),
    hidden = new Set();
  let width = 640;
  const draw = () => place.replaceChildren(plot(spec, width, hidden, readout));
  const legend = h(
    'ul',
    { class: 'legend' },
    spec.series.map((one, i) => {
      const button = h(
        'button',
        {
          type: 'button',
          'aria-pressed': 'true',
          title: 'show or hide',
          onclick: () => {
            if (!hidden.delete(i)) hidden.add(i);
            button.setAttribute('aria-pressed', String(!hidden.has(i)));
            draw();
          },
        },
        h(
          'svg',
          { viewBox: '0 0 26 10', 'aria-hidden': 'true' },
          h('line', { x1: 0, x2: 26, y1: 5, y2: 5, 'stroke-width': 3, ...stroke(i) }),
        ),
        one.name,
      );
      return h('li', {}, button);
    }),
  );
  draw();
  const figure = h(
    'figure',
    {},
    h('figcaption', {}, spec.title),
    place,
    spec.bars ? null : legend,
    readout,
    numbers(spec),
  );
  return fitted(figure, width, (now) => {
    width = now;
    draw();
  });
}

// Tells `resize` the width of a figure's drawing where its place no longer is `width` wide.
function fitted(figure, width, resize) {
  let last = width;
  new ResizeObserver(() => {
    const now = Math.round(Math.min(Math.max(figure.clientWidth, NARROW), WIDE));
    if (figure.clientWidth && now !== last) {
      last = now;
      resize(now);
    }
  }).observe(figure);
  return figure;
}

function numbers({ x, series }) {
  const details = h(
    'details',
    {
      ontoggle: () => {
        if (!details.open || details.children.length > 1) return;
        const places = [...new Set(series.flatMap((one) => one.x))].sort((a, b) => a - b),
          at = series.map((one) => new Map(one.x.map((value, j) => [value, one.y[j]])));
        details.append(
          table(
            '',
            [x, ...series.map((one) => one.name)],
            places.map((place) => [
              short(place),
              ...at.map((line) => (line.has(place) ? short(line.get(place)) : '')),
            ]),
          ),
        );
      },
    },
    h('summary', {}, 'Numbers'),
  );
  return details;
}

function plot(spec, W, hidden, readout) {
  const { title, x, y, series, events = [], low = null, high = null } = spec;
  const H = W < 480 ? 270 : 300,
    left = 56,
    right = 12,
    bottom = 40;
  const seen = series.filter((_, i) => !hidden.has(i)),
    ranged = seen.length ? seen : series;
  const xs = ranged.flatMap((one) => one.x),
    ys = ranged.flatMap((one) => one.y).filter((value) => value !== null);
  const positive = ys.filter((value) => value > 0);
  const logged =
    spec.log && positive.length === ys.length && Math.max(...positive) > 50 * Math.min(...positive);
  const scale = logged ? Math.log10 : (value) => value;
  const marks = events
    .filter((one) => one.kind === 'mark' || one.kind === 'truth')
    .map((one) => one.at);
  let [x0, x1] = [Math.min(...xs, ...marks), Math.max(...xs, ...marks)];
  let [y0, y1] = [
    low === null ? scale(Math.min(...ys)) : low,
    high === null ? scale(Math.max(...ys)) : high,
  ];
  if (spec.bars) {
    const half = (xs[1] - xs[0]) / 2;
    x0 -= half;
    x1 += half;
  }
  if (x0 === x1) {
    x0 -= 1;
    x1 += 1;
  }
  if (y0 === y1) {
    y0 -= Math.abs(y0) / 2 || 1;
    y1 += Math.abs(y1) / 2 || 1;
  }
  const px = (value) => left + ((value - x0) / (x1 - x0)) * (W - left - right);
  const within = events.filter((one) => one.at >= x0 && one.at <= x1),
    texts = labels(within, px, W - right);
  // Labels stand above the lines.
  const top = 26 + 14 * Math.max(0, ...texts.map((one) => one.row + 1));
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
  for (const value of ticks(x0, x1, Math.floor(W / 64), xs.every(Number.isInteger)))
    svg.append(
      h('text', { x: px(value), y: H - bottom + 17, 'text-anchor': 'middle' }, short(value)),
    );
  svg.append(
    h('text', { x: (left + W - right) / 2, y: H - 6, 'text-anchor': 'middle' }, x),
    h('text', { x: 4, y: 13 }, logged ? `${y} (logarithmic)` : y),
  );
  upright(svg, within, texts, px, top, H - bottom);
  series.forEach((one, i) => {
    if (!hidden.has(i)) svg.append(...trace(one, i, spec, px, py));
  });
  const guide = h('line', { class: 'guide', y1: top, y2: H - bottom, visibility: 'hidden' });
  svg.append(guide);
  const point = (event) => {
    const box = svg.getBoundingClientRect(),
      at =
        x0 +
        ((((event.clientX - box.left) / box.width) * W - left) / (W - left - right)) * (x1 - x0);
    const read = series.flatMap((one, i) => {
      if (hidden.has(i)) return [];
      let best = 0;
      one.x.forEach((value, j) => {
        if (Math.abs(value - at) < Math.abs(one.x[best] - at)) best = j;
      });
      return [{ i, name: one.name, x: one.x[best], y: one.y[best] }];
    });
    if (!read.length) return;
    const nearest = read.reduce((a, b) => (Math.abs(b.x - at) < Math.abs(a.x - at) ? b : a));
    for (const name of ['x1', 'x2']) guide.setAttribute(name, px(nearest.x));
    guide.setAttribute('visibility', 'visible');
    readout.replaceChildren(
      ...read.map((one) => h('span', {}, `${one.name} ${short(one.y)} at ${short(one.x)}`)),
    );
  };
  svg.addEventListener('pointermove', point);
  svg.addEventListener('pointerdown', point);
  svg.addEventListener('pointerleave', () => guide.setAttribute('visibility', 'hidden'));
  return svg;
}

// Places the labels of events, each on the first line where it meets no other.
function labels(events, px, edge) {
  const ends = [];
  return events
    .filter((one) => one.kind !== 'refresh')
    .sort((a, b) => a.at - b.at)
    .map((one) => {
      const at = px(one.at),
        long = LETTER * one.what.length + 8,
        back = at + long > edge,
        from = back ? at - long : at;
      let row = ends.findIndex((end) => end < from);
      if (row < 0) row = ends.length;
      ends[row] = from + long;
      return { what: one.what, at, back, row };
    });
}

const LINES = {
  refresh: { stroke: 'var(--soft)', 'stroke-width': 0.7, 'stroke-dasharray': '2 4' },
  mark: { stroke: 'var(--accent)', 'stroke-width': 2, 'stroke-dasharray': '6 3' },
  truth: { stroke: 'var(--good)', 'stroke-width': 2, 'stroke-dasharray': '2 2' },
};

function upright(svg, events, texts, px, top, foot) {
  for (const event of events)
    svg.append(
      h('line', {
        x1: px(event.at),
        x2: px(event.at),
        y1: top,
        y2: foot,
        ...(LINES[event.kind] || { stroke: 'var(--soft)', 'stroke-width': 1.3 }),
      }),
    );
  for (const { what, at, back, row } of texts)
    svg.append(
      h(
        'text',
        { class: 'event', x: at, y: 26 + 14 * row, 'text-anchor': back ? 'end' : null },
        what,
      ),
    );
}

function trace(one, i, spec, px, py) {
  const colour = stroke(i).stroke;
  if (spec.bars) {
    const half = (one.x[1] - one.x[0]) / 2;
    return one.x.map((value, j) =>
      h('rect', {
        x: px(value - half) + 1,
        y: py(one.y[j]),
        width: Math.max(px(value + half) - px(value - half) - 2, 1),
        height: Math.max(py(0) - py(one.y[j]), 0),
        fill: colour,
      }),
    );
  }
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
  const drawn = [h('path', { d: path, fill: 'none', 'stroke-width': 2, ...stroke(i) })];
  if (spec.markers || one.x.length === 1)
    one.x.forEach((value, j) => {
      if (one.y[j] !== null)
        drawn.push(h('circle', { cx: px(value), cy: py(one.y[j]), r: 3.2, fill: colour }));
    });
  return drawn;
}
