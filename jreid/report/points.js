'use strict';
// Features in the plane. The pointer, or a label that is typed, picks out the images of one label;
// circles are the source, triangles the target.
const NEAR = 14; // pixels from the pointer to a point that it means
const FREQUENT = COLOURS.length - 1; // labels with a colour of their own; the last is the others'

const marker = (domain, x, y, r) =>
  domain === 'target'
    ? `M${x} ${(y - r).toFixed(1)}l${r} ${1.8 * r}h${-2 * r}z`
    : `M${(x - r).toFixed(1)} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0z`;

// points: {domain: [], row: [], label: [], x: [], y: []}.
function plane(points) {
  const domains = [...new Set(points.domain)],
    sizes = new Map();
  points.label.forEach((label, i) => {
    const name = `${points.domain[i]} ${label}`;
    if (label !== null) sizes.set(name, (sizes.get(name) || 0) + 1);
  });
  const named = (i) => `${points.domain[i]} ${points.label[i]}`;
  // The labels of the target have colours, or the source's where the target has none.
  const targets = [...sizes.keys()].some((name) => name.startsWith('target'));
  const coloured = targets ? 'target' : 'source';
  const frequent = [...sizes]
    .filter(([name]) => name.startsWith(coloured))
    .sort((a, b) => b[1] - a[1])
    .slice(0, FREQUENT)
    .map(([name]) => name);
  const place = h('div', { class: 'plot' }),
    readout = h('div', { class: 'readout', role: 'status' });
  let width = 640,
    picked = null,
    drawn = [];

  const colour = (i) => {
    if (by.value === 'domain') return COLOURS[domains.indexOf(points.domain[i])];
    const at = points.label[i] === null ? -1 : frequent.indexOf(named(i));
    return at < 0 ? COLOURS[FREQUENT] : COLOURS[at];
  };
  const pick = (i) => {
    picked = i;
    const same = (j) => j === i || (points.label[i] !== null && named(j) === named(i));
    drawn.forEach((point, j) => {
      point.path.setAttribute('opacity', i === null || same(j) ? 1 : 0.15);
      point.path.setAttribute('stroke', i !== null && same(j) ? 'var(--ink)' : 'none');
    });
    readout.textContent =
      i === null
        ? ''
        : `${points.domain[i]}, ` +
          (points.label[i] === null ? 'no label' : `label ${points.label[i]}`) +
          `, image ${points.row[i] + 1} of its training split; ` +
          `${points.label[i] === null ? 1 : sizes.get(named(i))} shown`;
  };
  // A point of the label that is typed, to which the pointer gives way where it means none.
  const typedPick = () => {
    const wanted = typed.value.trim(),
      index = points.label.findIndex(
        (label, i) => label !== null && String(label) === wanted && points.domain[i] === coloured,
      );
    return index < 0 ? null : index;
  };
  const draw = () => {
    const W = width,
      H = Math.min(W, 520),
      [x0, x1] = [Math.min(...points.x), Math.max(...points.x)],
      [y0, y1] = [Math.min(...points.y), Math.max(...points.y)];
    const svg = h('svg', {
      viewBox: `0 0 ${W} ${H}`,
      role: 'img',
      'aria-label': `${points.x.length} features of ${domains.join(' and ')} in the plane`,
    });
    drawn = points.x.map((value, i) => {
      const x = 12 + ((value - x0) / (x1 - x0 || 1)) * (W - 24),
        y = H - 12 - ((points.y[i] - y0) / (y1 - y0 || 1)) * (H - 24);
      const path = h('path', {
        d: marker(points.domain[i], Number(x.toFixed(1)), Number(y.toFixed(1)), W < 480 ? 3 : 4),
        fill: colour(i),
      });
      svg.append(path);
      return { x, y, path };
    });
    const point = (event) => {
      const box = svg.getBoundingClientRect(),
        x = ((event.clientX - box.left) / box.width) * W,
        y = ((event.clientY - box.top) / box.height) * H;
      let best = null,
        least = NEAR;
      drawn.forEach((one, i) => {
        const far = Math.hypot(one.x - x, one.y - y);
        if (far < least) [best, least] = [i, far];
      });
      if (best === null) best = typedPick();
      if (best !== picked) pick(best);
    };
    svg.addEventListener('pointermove', point);
    svg.addEventListener('pointerdown', point);
    svg.addEventListener('pointerleave', () => pick(typedPick()));
    place.replaceChildren(svg);
    pick(picked);
  };
  const by = keep(
    select(
      [
        ['domain', 'domain'],
        ['label', 'label, the most frequent'],
      ],
      draw,
    ),
    'features.by',
  );
  const typed = keep(
    h('input', {
      type: 'search',
      placeholder: 'number',
      size: 8,
      oninput: () => {
        pick(typedPick());
        if (typed.value.trim() && picked === null)
          readout.textContent = `no point of the ${coloured} has this label`;
      },
    }),
    'features.label',
  );
  const legend = h(
    'p',
    { class: 'note' },
    `${domains.includes('source') ? 'Circles: source, with its identities. ' : ''}Triangles:` +
      ' target, with its pseudo labels. Point at one to pick out its label.' +
      ` Only the most frequent labels have colours: ${frequent.join(', ') || 'none'}.`,
  );
  draw();
  if (typed.value) typed.dispatchEvent(new Event('input'));
  const figure = h(
    'figure',
    {},
    h('figcaption', {}, 'Features, t-SNE'),
    h(
      'div',
      { class: 'controls' },
      labelled('colour by', by),
      labelled(`label of the ${coloured}`, typed),
    ),
    place,
    readout,
    legend,
  );
  return fitted(figure, width, (now) => {
    width = now;
    draw();
  });
}
