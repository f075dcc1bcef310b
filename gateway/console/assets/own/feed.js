// @ts-check
// The firehose: pausing it, and not keeping more than can be read.
const rows = document.getElementById('firehose-rows');
const empty = document.getElementById('firehose-empty');
const pause = document.getElementById('pause');
const most = 500;
if (rows && pause) {
  new MutationObserver(() => {
    while (rows.children.length > most) rows.lastElementChild?.remove();
    if (empty) empty.hidden = rows.children.length > 0;
  }).observe(rows, { childList: true });
  pause.addEventListener('click', () => {
    const on = pause.getAttribute('aria-pressed') !== 'true';
    pause.setAttribute('aria-pressed', String(on));
    const word = pause.querySelector('span'), lamp = document.getElementById('lamp');
    if (word) word.textContent = on ? 'Go on' : 'Pause';
    const source = document.getElementById('live');
    if (on) {
      source?.replaceWith(Object.assign(document.createElement('div'), { id: 'paused', hidden: true }));
      if (source) kept = source.getAttribute('hx-sse:connect') || '';
      if (lamp) { lamp.dataset.state = 'lost'; lamp.textContent = 'paused'; }
      return;
    }
    // The stream goes on after the newest event that is shown.
    const next = document.createElement('div'), last = rows.querySelector('[data-id]')?.getAttribute('data-id');
    next.id = 'live';
    next.hidden = true;
    next.setAttribute('hx-sse:connect', kept.replace(/&after=[^&]*/, '') + (last ? '&after=' + encodeURIComponent(last) : ''));
    next.setAttribute('hx-swap', 'none');
    document.getElementById('paused')?.replaceWith(next);
    window['htmx'].process(next);
    if (lamp) { lamp.dataset.state = 'live'; lamp.textContent = 'live'; }
  });
}
let kept = '';
