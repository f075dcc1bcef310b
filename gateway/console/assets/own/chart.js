// @ts-check
// Draws the charts of the overview from the tables beside them.
/** A colour as the theme has it now: a canvas knows no light-dark(). @param {string} token */
function colour(token) {
  const probe = document.createElement('i');
  probe.style.color = 'var(' + token + ')';
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}
const tokens = ['--run', '--ok', '--bad', '--warn'];
/** @type {Map<Element, {plot: any, text: string}>} */
const drawn = new Map();

function draw() {
  for (const place of document.querySelectorAll('[data-chart]')) {
    const table = document.getElementById('t-' + place.getAttribute('data-chart'));
    if (!table || !window['uPlot']) continue;
    const text = table.textContent || '', before = drawn.get(place);
    if (before && before.text === text) continue;
    const rows = [...table.querySelectorAll('tbody tr')];
    const data = [rows.map(r => Number(r.querySelector('th')?.dataset.at))];
    const names = [...table.querySelectorAll('thead th')].slice(1).map(h => h.textContent || '');
    names.forEach((_, i) => data.push(rows.map(r => Number(r.querySelectorAll('td')[i]?.textContent))));
    if (before) {
      before.plot.setData(data);
      before.text = text;
      continue;
    }
    const soft = colour('--soft'), line = colour('--line');
    const axis = { stroke: soft, grid: { stroke: line, width: 1 }, ticks: { show: false }, font: '11px system-ui' };
    const plot = new window['uPlot']({
      width: place.clientWidth, height: 150, cursor: { drag: { x: false, y: false } }, legend: { show: false },
      scales: { y: { range: (/** @type {any} */ _, /** @type {number} */ low, /** @type {number} */ high) => [0, Math.max(high * 1.15, 1)] } },
      series: [{}, ...names.map((label, i) => ({ label, stroke: colour(tokens[i % 4]), width: 1.75, points: { show: false }, fill: i === 0 ? colour(tokens[0]).replace('rgb(', 'rgba(').replace(')', ', .12)') : undefined }))],
      axes: [{ ...axis, space: 70, size: 26, values: (/** @type {any} */ _, /** @type {number[]} */ at) => at.map(t => new Date(t * 1000).toISOString().slice(11, 16)) }, { ...axis, size: 44 }],
    }, data, place);
    drawn.set(place, { plot, text });
    new ResizeObserver(() => plot.setSize({ width: place.clientWidth, height: 150 })).observe(place);
  }
}
draw();
addEventListener('load', draw);
new MutationObserver(draw).observe(document.querySelector('[data-charts]') || document.body, { childList: true, subtree: true, characterData: true });
