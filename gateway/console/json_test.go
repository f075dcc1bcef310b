package console

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// textOf is what a reader sees of HTML, with a line for each block.
func textOf(t *testing.T, page string) (text string, folds, shut int) {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for n := range doc.Descendants() {
		switch {
		case n.Type == html.TextNode:
			b.WriteString(n.Data)
		case n.Data == "details":
			folds++
			if !strings.Contains(fmt.Sprint(n.Attr), "open") {
				shut++
			}
		}
	}
	return b.String(), folds, shut
}

// What is folded is the value that was sent, to the byte but for blanks; long parts are
// shut at first, short ones and the outermost are no folds.
func TestFoldedJSONIsTheWholeValue(t *testing.T) {
	long := make([]map[string]string, 40)
	for i := range long {
		long[i] = map[string]string{"name": fmt.Sprintf("row {%d [", i), "b": "<b>]},", "c": "x"}
	}
	for _, one := range []struct {
		name        string
		value       any
		folds, shut int
	}{
		{"a text", "{", 0, 0},
		{"a flat object", map[string]any{"a": 1, "b": []int{}, "c": map[string]int{}, "d": 5}, 0, 0},
		{"a short part", map[string]any{"a": []int{1, 2}, "n": json.Number("12345678901234567890.10")}, 0, 0},
		{"a part", map[string]any{"a": []int{1, 2, 3}}, 1, 0},
		{"a part in a part", map[string]any{"a": map[string]any{"b": []string{"[", "{", "]"}}}, 2, 0},
		{"a long list", map[string]any{"rows": long, "z": 1}, 41, 1},
		{"too many parts", [][][]int{make3(200)}, foldsMost, 1},
	} {
		raw, err := json.Marshal(one.value)
		if err != nil {
			t.Fatal(err)
		}
		page := string(showJSON(raw))
		text, folds, shut := textOf(t, page)
		blank := strings.NewReplacer(" ", "", "\n", "")
		if got, want := blank.Replace(text), blank.Replace(string(raw)); got != want {
			t.Errorf("%s: %.300s\nwant %.300s", one.name, got, want)
		}
		if folds != one.folds || shut != one.shut {
			t.Errorf("%s: %d folds, %d shut, want %d and %d", one.name, folds, shut, one.folds, one.shut)
		}
		if strings.Count(page, "<details") != strings.Count(page, "</details>") {
			t.Errorf("%s: a fold has no end", one.name)
		}
	}
}

// make3 are lists of three numbers.
func make3(n int) (all [][]int) {
	for range n {
		all = append(all, []int{1, 2, 3})
	}
	return all
}

// Values that are no JSON, or longer than a page shows, are text without folds.
func TestWhatIsNoJSONIsShownAsText(t *testing.T) {
	for _, raw := range []string{"{", "}\n]", "[1,\n2", `{"a":"` + strings.Repeat("x", maxInline) + `"}`} {
		if text, folds, _ := textOf(t, string(showJSON([]byte(raw)))); folds > 0 || !strings.HasPrefix(text, raw[:1]) {
			t.Errorf("%.20q: %d folds, %.30q", raw, folds, text)
		}
	}
}
