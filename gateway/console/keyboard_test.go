package console

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// Keys go places, and do nothing while somebody types.
func TestTheConsoleIsUsedByKeys(t *testing.T) {
	b := openBrowser(t, newFake(t, &fakeAPI{n: 3}, nil))
	b.visit("")
	b.do(chromedp.KeyEvent("g"), chromedp.KeyEvent("t"))
	b.until("location.pathname.endsWith('/console/tasks') && document.readyState === 'complete'")
	b.do(chromedp.KeyEvent("/"))
	b.until("document.activeElement.id === 'f-agent'")
	b.do(chromedp.KeyEvent("g"), chromedp.KeyEvent("s"))
	b.until("document.activeElement.value?.endsWith('gs') && location.pathname.endsWith('/console/tasks')")
	js[bool](b, "document.activeElement.blur(), document.dispatchEvent(new KeyboardEvent('keydown', {key: 'k', ctrlKey: true, bubbles: true})), true")
	b.until("document.getElementById('palette').open")
	b.do(chromedp.SendKeys("#palette input", fakeID("dlv", 0)+"\r"))
	b.until("location.pathname.includes('/console/deliveries/dlv_') && document.readyState === 'complete'")
	b.do(chromedp.KeyEvent("?"))
	b.until("document.getElementById('help').open")
}

// look says of the element that has the focus how it is to be seen: what it is, and what is
// wrong with it.
const look = `(() => {
  const e = document.activeElement;
  if (!e || e === document.body) return {name: '', fault: ''};
  const name = e.tagName.toLowerCase() + (e.id ? '#' + e.id : '') + ' ' + (e.getAttribute('aria-label') || e.textContent || e.name || '').trim().replace(/\\s+/g, ' ').slice(0, 40);
  const s = getComputedStyle(e), r = e.getBoundingClientRect(), faults = [];
  if (!e.matches(':focus-visible')) faults.push('its focus is not to be seen');
  if (s.outlineStyle === 'none' || parseFloat(s.outlineWidth) < 2) faults.push('it has no ring: ' + s.outline);
  if (r.bottom <= 0 || r.top >= innerHeight || r.right <= 0 || r.left >= innerWidth) faults.push('it is out of sight');
  const x = Math.min(Math.max(r.left + Math.min(r.width / 2, 8), 0), innerWidth - 1), y = Math.min(Math.max(r.top + Math.min(r.height / 2, 8), 0), innerHeight - 1);
  const top = document.elementFromPoint(x, y);
  if (top && !e.contains(top) && !top.contains(e)) faults.push('it is behind ' + top.tagName + '.' + top.className);
  e.dataset.walked = '1';
  return {name, fault: faults.join(', ')};
})()`

// stops are the elements that the Tab key must reach, and has not.
const missed = `[...document.querySelectorAll('a[href],button,input,select,textarea,summary,[tabindex="0"]')].filter(e => !e.dataset.walked && !e.disabled && e.type !== 'hidden' && e.checkVisibility({visibilityProperty: true}) && !e.closest('dialog:not([open]),[popover]:not(.side)')).map(e => e.tagName + ' ' + (e.id || e.textContent.trim().slice(0, 30)))`

type seen struct{ Name, Fault string }

// A person without a mouse gets everywhere: on each screen the Tab key begins with the way
// to the content, reaches all that can be used, shows where it is, and is kept nowhere.
func TestEveryScreenIsWalkedByTheTabKey(t *testing.T) {
	b := openBrowser(t, newFake(t, &fakeAPI{n: 3}, nil))
	b.size(1280, 800)
	for _, p := range some(shownPages()) {
		b.visit(p)
		walked, first := 0, ""
		for ; walked < 400; walked++ {
			b.do(chromedp.KeyEvent("\t"))
			at := js[seen](b, look)
			if at.Name == "" {
				break // round: the browser's own controls come next
			}
			if first == "" {
				first = at.Name
			}
			if at.Fault != "" {
				t.Errorf("%q: %s: %s", p, at.Name, at.Fault)
			}
		}
		if !strings.Contains(first, "Skip to the content") {
			t.Errorf("%q begins with %q", p, first)
		}
		if left := js[[]string](b, missed); len(left) > 0 || walked == 400 {
			t.Errorf("%q: %d stops, never reached: %.400s", p, walked, left)
		}
		if asks := js[[]string](b, fmt.Sprintf(`performance.getEntriesByType('resource').map(e => e.name).filter(n => !n.startsWith(%q + 'assets/') && !n.includes('live=1'))`, b.base)); len(asks) > 0 {
			t.Errorf("%q asks for %v", p, asks)
		}
	}
}

// tabTo goes on with the Tab key until what a selector names has the focus.
func (b *browserTab) tabTo(selector string) {
	b.t.Helper()
	for range 200 {
		b.do(chromedp.KeyEvent("\t"))
		if js[bool](b, fmt.Sprintf("!!document.activeElement?.matches(%q)", selector)) {
			return
		}
	}
	b.t.Fatalf("the Tab key never reaches %s", selector)
}

// A task is made, watched, canceled and deleted without a mouse; a question is left by
// Escape, and the focus goes back to where it was.
func TestATaskIsMadeCanceledAndDeletedByKeysInABrowser(t *testing.T) {
	if !*inBrowser {
		t.Skip("stories in a browser are run by: make console-test")
	}
	c, _ := onMesh(t)
	b := openBrowser(t, c)
	b.visit("")
	b.do(chromedp.KeyEvent("g"), chromedp.KeyEvent("p"))
	b.until("location.pathname.endsWith('/console/playground') && document.readyState === 'complete'")
	b.tabTo("a.btn[href$='playground/sleeper']")
	b.do(chromedp.KeyEvent("\r"))
	b.until("location.pathname.endsWith('/playground/sleeper') && document.readyState === 'complete'")
	b.tabTo("button[value=run]")
	b.do(chromedp.KeyEvent("\r"))
	b.until("location.pathname.includes('/console/tasks/tsk_') && document.readyState === 'complete'")
	b.says("#task-head", "running")
	b.tabTo("#task-head button.danger")
	b.do(chromedp.KeyEvent("\r"))
	b.until("document.getElementById('ask').open && document.getElementById('ask').contains(document.activeElement)")
	b.do(chromedp.KeyEvent("\u001b"))
	b.until("!document.getElementById('ask').open && document.activeElement.matches('#task-head button.danger')")
	b.do(chromedp.KeyEvent("\r"))
	b.until("document.getElementById('ask').open")
	b.tabTo("#ask button[value=yes]")
	b.do(chromedp.KeyEvent("\r"))
	b.says("#task-head", "canceled")
	b.until("!!document.querySelector('form[action$=delete]')")
	b.visit("tasks")
	b.tabTo("button[popovertarget^=menu-]")
	b.do(chromedp.KeyEvent("\r"))
	b.until("!!document.querySelector('.menu:popover-open')")
	b.tabTo(".menu button.bad")
	b.do(chromedp.KeyEvent("\r"))
	b.until("document.getElementById('ask').open")
	b.tabTo("#ask button[value=yes]")
	b.do(chromedp.KeyEvent("\r"))
	b.says("#main", "It is deleted.")
}
