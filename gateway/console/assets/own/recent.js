// @ts-check
// The playground's last inputs, kept in this browser only.
const most = 8;
const of = (/** @type {string} */ agent) => 'mesh-recent-' + agent;
/** @param {string} agent @returns {string[]} */
function kept(agent) {
  try { return JSON.parse(localStorage.getItem(of(agent)) || '[]'); } catch { return []; }
}
const form = () => /** @type {HTMLFormElement|null} */ (document.querySelector('form[data-recent]'));
document.addEventListener('submit', e => {
  const f = /** @type {HTMLFormElement} */ (e.target), button = /** @type {HTMLButtonElement|null} */ (e.submitter);
  if (!f.dataset.recent || button?.value !== 'run') return;
  const all = [...new FormData(f)].filter(([k]) => k !== 'op' && k !== 'key').map(([k, v]) => [k, String(v)]);
  const one = JSON.stringify(all);
  if (one.length > 20000) return;
  localStorage.setItem(of(f.dataset.recent), JSON.stringify([one, ...kept(f.dataset.recent).filter(x => x !== one)].slice(0, most)));
}, true);

function show() {
  const f = form(), place = document.getElementById('recent');
  if (!f || !place || place.childElementCount) return;
  const all = kept(f.dataset.recent || '');
  if (!all.length) return;
  const select = document.createElement('select');
  select.setAttribute('aria-label', 'Inputs that were sent before');
  select.append(new Option('Sent before…', ''), ...all.map((one, i) => new Option(i + 1 + ': ' + JSON.parse(one).filter((/** @type {string[]} */ p) => p[0] === 'json' || p[0].startsWith('f')).map((/** @type {string[]} */ p) => p[1]).join(' ').replace(/\s+/g, ' ').slice(0, 60), String(i))));
  select.addEventListener('change', e => {
    e.stopPropagation();
    if (!select.value) return;
    const values = JSON.parse(all[Number(select.value)]);
    const params = new FormData();
    for (const [k, v] of values) params.append(k, v);
    params.append('op', 'again');
    const now = form();
    if (now) window['htmx'].ajax('POST', now.action, { source: now, target: '#main', select: '#main', swap: 'outerMorph', values: Object.fromEntries(values) });
  });
  place.append(select);
}
show();
document.addEventListener('htmx:after:swap', show);
