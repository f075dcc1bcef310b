// @ts-check
// Keeps the stream of a page alive, says whether it lives, and announces what changes.
const source = document.getElementById('live');
const lamp = document.getElementById('lamp');
const voice = document.getElementById('voice');

/** @param {string} state @param {string} text */
function say(state, text) {
  if (!lamp || lamp.dataset.state === state) return;
  lamp.dataset.state = state;
  lamp.textContent = text;
}

/** @param {any} status a page that its reader may not read any more leads to the login */
const gone = status => status === 401 || status === 403;

if (source) {
  const url = source.getAttribute('hx-sse:connect') || '';
  let wait = 500;
  // A first connection that fails is not tried again by the extension.
  const again = () => {
    say('lost', 'reconnecting');
    setTimeout(() => window['htmx'].ajax('GET', url, { source }), wait * (0.7 + Math.random() * 0.6));
    wait = Math.min(wait * 2, 15000);
  };
  source.addEventListener('htmx:response:error', e => {
    const status = /** @type {CustomEvent} */ (e).detail?.ctx?.response?.raw?.status;
    gone(status) ? location.reload() : again();
  });
  source.addEventListener('htmx:error', () => again());
  source.addEventListener('htmx:sse:error', e => {
    if (gone(/** @type {CustomEvent} */ (e).detail?.status)) location.reload();
    say('lost', 'reconnecting');
  });
  source.addEventListener('htmx:sse:after:connection', () => { wait = 500; say('live', 'live'); });
  source.addEventListener('htmx:sse:after:message', () => say('live', 'live'));
  source.addEventListener('close', () => say('over', 'finished'));
}

// What changes is announced once in five seconds at most, and politely.
let told = 0, waiting = '';
/** @param {string} text */
function announce(text) {
  if (!voice || !text || text === waiting) return;
  waiting = text;
  const due = Math.max(0, told + 5000 - Date.now());
  setTimeout(() => {
    if (waiting !== text) return;
    told = Date.now();
    voice.textContent = text;
    waiting = '';
  }, due);
}
let last = '';
new MutationObserver(() => {
  const words = [...document.querySelectorAll('[data-say]')].map(e => e.getAttribute('data-say')).join('. ');
  if (words !== last) { last = words; announce(words); }
}).observe(document.body, { subtree: true, childList: true, attributes: true, attributeFilter: ['data-say'] });

/** The same words as format.go. @param {number} ms */
function ago(ms) {
  const past = ms >= 0, s = Math.abs(ms) / 1000;
  if (s < 10) return past ? 'just now' : 'in a moment';
  const text = s < 60 ? Math.floor(s / 10) * 10 + ' s' : s < 3600 ? Math.floor(s / 60) + ' min' : s < 172800 ? Math.floor(s / 3600) + ' h' : Math.floor(s / 86400) + ' days';
  return past ? text + ' ago' : 'in ' + text;
}
setInterval(() => {
  for (const t of document.querySelectorAll('time:not([data-clock])')) {
    const text = ago(Date.now() - Date.parse(t.getAttribute('datetime') || ''));
    if (t.textContent !== text) t.textContent = text;
  }
}, 5000);
