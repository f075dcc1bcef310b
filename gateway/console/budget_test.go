package console

import (
	"io/fs"
	"net/http"
	"path"
	"regexp"
	"strings"
	"testing"
)

var loads = regexp.MustCompile(`(?:src|href)="(?:\.\./|\./)*(assets/[^"]+)"`)

// A first view is small, and loads nothing besides the page and its assets.
func TestPagesKeepTheirBudgetsOfBytes(t *testing.T) {
	c := newFake(t, &fakeAPI{n: 50}, nil)
	for page, most := range map[string]int{"tasks": 60 << 10, "": 90 << 10, "tasks/" + fakeID("tsk", 0): 60 << 10, "playground/research": 60 << 10} {
		w := get(c, "/console/"+page, "Accept-Encoding", "gzip")
		sum := w.Body.Len()
		plain := get(c, "/console/"+page).Body.String()
		for _, m := range loads.FindAllStringSubmatch(plain, -1) {
			a := get(c, "/console/"+m[1], "Accept-Encoding", "gzip")
			if a.Code != http.StatusOK {
				t.Errorf("%s loads %s: %d", page, m[1], a.Code)
			}
			sum += a.Body.Len()
		}
		if sum > most {
			t.Errorf("%q takes %d bytes, allowed are %d", page, sum, most)
		}
		t.Logf("%q: %d bytes", page, sum)
	}
}

func TestManyRowsAreSmall(t *testing.T) {
	c := newFake(t, &fakeAPI{n: 200, subject: "ada"}, nil)
	if w := get(c, "/console/tasks", "Accept-Encoding", "gzip"); w.Body.Len() > 16<<10 {
		t.Errorf("200 rows take %d bytes", w.Body.Len())
	}
}

// However much there is, a page shows a part of it, and leads to the rest: a page is no
// larger with 10,000 of everything than it is with fifty.
func TestPagesAreSmallWithTenThousandOfEverything(t *testing.T) {
	c, many := newFake(t, &fakeAPI{n: 1000, subject: "ada"}, nil), newFake(t, &fakeAPI{n: 10_000, subject: "ada"}, nil)
	small := func(c *Console, page string) string {
		w := get(c, "/console/"+page)
		if packed := len(zipped(w.Body.Bytes())); packed > 16<<10 {
			t.Errorf("%q takes %d bytes, allowed are %d", page, packed, 16<<10)
		}
		return w.Body.String()
	}
	for _, page := range []string{"", "tasks", "sessions", "agents", "agents?view=cards", "agents?view=map", "workers", "playground", "deliveries", "dead"} {
		small(c, page) // the API has them in pages, or a mesh has no more of them
	}
	for _, page := range []string{"schedules", "hooks", "webhooks"} {
		body := small(many, page+"?from=9980")
		if !strings.Contains(body, "9\u202f951 to 10\u202f000 of 10\u202f000") || strings.Contains(body, ">Further<") || !strings.Contains(body, `href="?from=9900"`) {
			t.Errorf("%s: its end is not to be found: %.300s", page, body[strings.Index(body, "pager"):])
		}
		if body := small(c, page+"?q=zzz"); !strings.Contains(body, "None has") || !strings.Contains(body, `value="zzz"`) {
			t.Errorf("%s: what is not there is not told", page)
		}
	}
	if body := get(c, "/console/agents?q=echo-999").Body.String(); strings.Count(body, "<tr") != 2+4 || !strings.Contains(body, "agents/echo-999") {
		t.Errorf("one agent of 1,000 is not found: %d rows", strings.Count(body, "<tr"))
	}
}

func TestOwnScriptsAreSmall(t *testing.T) {
	lines, packed := 0, 0
	err := fs.WalkDir(assetFiles, "assets/own", func(file string, d fs.DirEntry, err error) error {
		if err != nil || path.Ext(file) != ".js" {
			return err
		}
		raw, err := assetFiles.ReadFile(file)
		lines, packed = lines+strings.Count(string(raw), "\n"), packed+len(zipped(raw))
		for _, word := range []string{"innerHTML", "insertAdjacentHTML", "eval(", "new Function", "document.write"} {
			if strings.Contains(string(raw), word) {
				t.Errorf("%s has %s: data are text nodes", file, word)
			}
		}
		return err
	})
	if err != nil || lines > 600 || packed > 12<<10 {
		t.Errorf("%d lines, %d bytes: %v", lines, packed, err)
	}
}
