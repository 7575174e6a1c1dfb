'use strict';
// Tables that sort by a click on a heading, and what of the page its address keeps.

// What a cell is ordered by: its number, or its words; an empty one comes last.
function rank(cell) {
  const words = cell.textContent.trim();
  if (words === '' || words === '–') return null;
  const value = Number(words.replaceAll(',', '').replace(/ ?(%|min)$/, ''));
  return Number.isNaN(value) ? words.toLowerCase() : value;
}

function before(a, b) {
  if (a === null || b === null) return (a === null) - (b === null);
  if (typeof a !== typeof b) return typeof a === 'number' ? -1 : 1;
  return typeof a === 'number' ? a - b : a.localeCompare(b, 'en', { numeric: true });
}

// options: left, the columns of words; last, how many rows stay at the end; plain, not to be
// sorted.
function table(caption, head, rows, options = {}) {
  const words = (i) => Boolean(options.left && options.left.includes(i));
  const cell = (value, i) =>
    h(
      i === 0 ? 'th' : 'td',
      i === 0 ? { scope: 'row' } : { class: words(i) ? 'left' : null },
      value,
    );
  const made = rows.map((row) => h('tr', {}, row.map(cell)));
  const body = h('tbody', {}, made);
  const free = made.slice(0, made.length - (options.last || 0)),
    fixed = made.slice(free.length);
  const heads = head.map((name, i) => {
    const plain = options.plain || free.length < 2 || name === '';
    return h(
      'th',
      { scope: 'col', class: words(i) ? 'left' : null },
      plain
        ? name
        : h('button', { type: 'button', class: 'sort', onclick: () => sort(i) }, name),
    );
  });
  function sort(i) {
    const now = heads[i].getAttribute('aria-sort');
    const keys = new Map(free.map((row) => [row, rank(row.children[i])]));
    const numeric = [...keys.values()].some((key) => typeof key === 'number');
    const down = now === null ? numeric : now === 'ascending';
    for (const one of heads) one.removeAttribute('aria-sort');
    heads[i].setAttribute('aria-sort', down ? 'descending' : 'ascending');
    const order = [...free].sort((a, b) => {
      const [x, y] = [keys.get(a), keys.get(b)];
      return x === null || y === null || !down ? before(x, y) : before(y, x);
    });
    body.replaceChildren(...order, ...fixed);
  }
  return h(
    'div',
    { class: 'scroll' },
    h('table', {}, caption && h('caption', {}, caption), h('thead', {}, h('tr', {}, heads)), body),
  );
}

// The address: '#section?ranked.order=best&config.field=rate'. It holds what differs from the
// page as it opens, so that a view can be sent to someone.
const address = (() => {
  const parts = () => location.hash.slice(1).split('?');
  let [section, query] = parts();
  const values = new URLSearchParams(query || '');
  function write() {
    const text = values.toString();
    history.replaceState(null, '', `#${section}${text ? `?${text}` : ''}`);
  }
  addEventListener('hashchange', () => {
    const [to, newQuery] = parts();
    section = to;
    if (newQuery === undefined) write();
    else if (newQuery !== values.toString()) location.reload();
  });
  return {
    section: () => section,
    get: (name) => values.get(name),
    set(name, value) {
      if (value === null) values.delete(name);
      else values.set(name, value);
      write();
    },
  };
})();

// Sets a control as the address has it, and keeps what is chosen there.
function keep(control, name) {
  const box = control.type === 'checkbox',
    read = () => (box ? (control.checked ? '1' : '0') : control.value);
  const usual = read(),
    kept = address.get(name);
  if (kept !== null) {
    if (box) control.checked = kept === '1';
    else control.value = kept;
    if (control.tagName === 'SELECT' && control.selectedIndex < 0) control.value = usual;
  }
  for (const kind of ['input', 'change'])
    control.addEventListener(kind, () => address.set(name, read() === usual ? null : read()));
  return control;
}
