// @ts-check
// Shortcuts, the palette, questions before something is done, and copying.
const byId = (/** @type {string} */ id) => document.getElementById(id);
const root = document.body.dataset.root || './';
/** @type {Record<string, string>} */
const screens = { o: '', t: 'tasks', s: 'sessions', a: 'agents', w: 'workers', h: 'webhooks', d: 'deliveries', x: 'dead', i: 'inbox', p: 'playground', e: 'firehose', c: 'schedules', b: 'budgets' };
const palette = /** @type {HTMLDialogElement} */ (byId('palette'));
const help = /** @type {HTMLDialogElement} */ (byId('help'));
let g = 0;

document.addEventListener('keydown', e => {
  const at = /** @type {HTMLElement} */ (e.target);
  if ((e.metaKey || e.ctrlKey) && e.key.toLowerCase() === 'k' && palette) {
    e.preventDefault();
    openPalette();
    return;
  }
  if (document.body.dataset.keys !== 'on' || e.metaKey || e.ctrlKey || e.altKey || at.closest('input,textarea,select,dialog,[contenteditable]')) return;
  if (g && Date.now() - g < 1500 && e.key in screens) {
    g = 0;
    e.preventDefault();
    location.href = root + screens[e.key];
    return;
  }
  g = 0;
  if (e.key === 'g') g = Date.now();
  else if (e.key === '?' && help) { e.preventDefault(); help.showModal(); }
  else if (e.key === '/') {
    const filter = /** @type {HTMLElement|null} */ (document.querySelector('[data-filter]'));
    e.preventDefault();
    filter ? filter.focus() : openPalette();
  }
});

function openPalette() {
  if (!palette || palette.open) return;
  const input = /** @type {HTMLInputElement} */ (palette.querySelector('input'));
  input.value = '';
  fill('');
  palette.showModal();
  input.focus();
}

/** @type {{text: string, href: string}[]} */
let shown = [];
let chosen = 0;
/** @param {string} q */
function fill(q) {
  const list = /** @type {HTMLElement} */ (palette.querySelector('ul'));
  const links = [...document.querySelectorAll('#menu li a')].map(a => ({ text: (a.textContent || '').trim(), href: /** @type {HTMLAnchorElement} */ (a).href }));
  shown = links.filter(l => l.text.toLowerCase().includes(q.toLowerCase()));
  if (q) shown.push({ text: /^[a-z]{3}_/.test(q) ? 'Open ' + q : 'Look for “' + q + '”', href: root + 'go?q=' + encodeURIComponent(q) });
  if (/^[a-z]{3}_/.test(q)) shown.reverse();
  chosen = 0;
  list.replaceChildren(...shown.map((l, i) => {
    const li = document.createElement('li');
    li.textContent = l.text;
    li.id = 'found-' + i;
    li.setAttribute('role', 'option');
    li.addEventListener('click', () => { location.href = l.href; });
    return li;
  }));
  choose(0);
}
/** @param {number} i */
function choose(i) {
  chosen = (i + shown.length) % Math.max(shown.length, 1);
  palette.querySelectorAll('li').forEach((li, n) => {
    li.setAttribute('aria-selected', String(n === chosen));
    if (n === chosen) li.scrollIntoView({ block: 'nearest' });
  });
  palette.querySelector('input')?.setAttribute('aria-activedescendant', shown.length ? 'found-' + chosen : '');
}
palette?.querySelector('input')?.addEventListener('input', e => fill(/** @type {HTMLInputElement} */ (e.target).value.trim()));
palette?.addEventListener('keydown', e => {
  if (e.key === 'ArrowDown') { e.preventDefault(); choose(chosen + 1); }
  else if (e.key === 'ArrowUp') { e.preventDefault(); choose(chosen - 1); }
  else if (e.key === 'Enter' && shown[chosen]) { e.preventDefault(); location.href = shown[chosen].href; }
});
byId('open-palette')?.addEventListener('click', openPalette);

// A form that asks before it is sent. Much at once asks for the number.
const ask = /** @type {HTMLDialogElement} */ (byId('ask'));
document.addEventListener('submit', e => {
  const form = /** @type {HTMLFormElement} */ (e.target);
  if (!form.dataset.confirm || form.dataset.sure) return;
  e.preventDefault();
  e.stopImmediatePropagation();
  const count = Number(form.dataset.count || 0), sender = e.submitter;
  const number = /** @type {HTMLInputElement} */ (ask.querySelector('input')), ok = /** @type {HTMLButtonElement} */ (ask.querySelector('[value=yes]'));
  /** @type {HTMLElement} */ (ask.querySelector('p')).textContent = form.dataset.confirm;
  ok.textContent = form.dataset.verb || 'Go on';
  const typed = /** @type {HTMLElement} */ (number.parentElement);
  typed.hidden = count <= 100;
  number.value = '';
  const check = () => { ok.disabled = count > 100 && number.value !== String(count); };
  number.oninput = check;
  check();
  ask.returnValue = '';
  ask.showModal();
  ask.onclose = () => {
    if (ask.returnValue !== 'yes') return;
    form.dataset.sure = '1';
    form.requestSubmit(/** @type {HTMLElement} */ (sender));
    delete form.dataset.sure;
  };
}, true);

document.addEventListener('click', async e => {
  const button = /** @type {HTMLElement|null} */ (/** @type {HTMLElement} */ (e.target).closest('[data-copy]'));
  if (!button) return;
  const text = button.parentElement?.querySelector('pre')?.textContent || button.closest('tr')?.id.slice(2) || '';
  try {
    await navigator.clipboard.writeText(text);
    const name = button.querySelector('.vh') || button;
    const was = name.textContent;
    if (was === 'Copied') return;
    name.textContent = 'Copied';
    const voice = byId('voice');
    if (voice) voice.textContent = 'Copied';
    setTimeout(() => { name.textContent = was; }, 2000);
  } catch { /* the browser does not let pages copy over plain http */ }
});
// Selects and checks that send their form at once.
document.addEventListener('change', e => {
  const at = /** @type {HTMLElement} */ (e.target);
  if (at.matches('[data-send]')) /** @type {HTMLInputElement} */ (at).form?.requestSubmit();
});
// A message that was sent leaves its field empty.
document.addEventListener('htmx:after:request', e => {
  const form = /** @type {HTMLElement} */ (e.target);
  if (form instanceof HTMLFormElement && form.hasAttribute('data-reset') && /** @type {CustomEvent} */ (e).detail?.ctx?.response?.status < 400) form.reset();
});
