// Without this script the page shows everything. With it details begin closed, and rows can be chosen.
const form = document.getElementById('filter');
const found = document.getElementById('found');
const none = document.getElementById('none');
const fields = ['q', 'section', 'state', 'possible', 'protocol'];
const rows = [...document.querySelectorAll('tr[data-row]')].map((line) => {
  const about = document.getElementById(line.dataset.row);
  const text = (line.textContent + ' ' + (about ? about.textContent : '')).toLowerCase();
  return { line, about, text };
});
const details = rows.map((row) => row.about).filter(Boolean);

function shows(row) {
  const { section, state, possible, protocols } = row.line.dataset;
  const is = (name, value) => !form.elements[name].value || form.elements[name].value === value;
  const words = form.elements.q.value.toLowerCase().split(/\s+/);
  return is('section', section) && is('state', state) && is('possible', possible)
    && (!form.elements.protocol.value || protocols.split('\n').includes(form.elements.protocol.value))
    && words.every((word) => row.text.includes(word));
}

function filter() {
  let count = 0;
  for (const row of rows) {
    const isShown = shows(row);
    row.line.hidden = !isShown;
    if (row.about) row.about.hidden = !isShown;
    count += isShown ? 1 : 0;
  }
  for (const section of document.querySelectorAll('section[data-section]')) {
    section.hidden = ![...section.querySelectorAll('tr[data-row]')].some((line) => !line.hidden);
  }
  found.textContent = count + ' of ' + rows.length + ' rows';
  none.hidden = count > 0;
}

// What is chosen stands in the address, so that it can be passed on.
function remember() {
  const chosen = new URLSearchParams();
  for (const name of fields) {
    if (form.elements[name].value) chosen.set(name, form.elements[name].value);
  }
  const query = chosen.toString();
  try {
    history.replaceState(null, '', (query ? '?' + query : location.pathname) + location.hash);
  } catch {
    // A page opened from a file may not change its address in every browser.
  }
}

function openTarget() {
  const target = details.find((about) => '#' + about.id === location.hash);
  if (!target) return;
  if (target.hidden) {
    form.reset();
    filter();
    remember();
  }
  target.open = true;
  target.scrollIntoView();
}

const asked = new URLSearchParams(location.search);
for (const name of fields) {
  if (asked.has(name)) form.elements[name].value = asked.get(name);
}
document.querySelector('.words').open = false;
for (const about of details) about.open = about.dataset.state === 'contradicted';
form.hidden = false;
form.addEventListener('submit', (event) => event.preventDefault());
form.addEventListener('input', () => { filter(); remember(); });
form.addEventListener('reset', () => setTimeout(() => { filter(); remember(); }));
addEventListener('hashchange', openTarget);
addEventListener('click', (event) => {
  // A second click on the same link changes no address.
  const link = event.target.closest('a[href^="#"]');
  if (link && link.getAttribute('href') === location.hash) openTarget();
});
let closed = [];
addEventListener('beforeprint', () => {
  closed = [...document.querySelectorAll('details')].filter((about) => !about.open);
  for (const about of closed) about.open = true;
});
addEventListener('afterprint', () => {
  for (const about of closed) about.open = false;
});
filter();
openTarget();
