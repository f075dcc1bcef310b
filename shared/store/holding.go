package store

import (
	"bytes"
	"strings"
)

// Member is a member of a JSON object, by its name and the texts that it may have.
type Member struct {
	Name   string
	Values []string
}

// holding is what a record must hold in its bytes to be worth decoding: of each
// member one of its texts. A record may hold them elsewhere than in that member, so
// it is no proof; one that does not hold them cannot match. To look for them costs a
// tenth of a decoding.
type holding [][][]byte

// holdingOf makes a holding of those members that are always written in one way: a
// text with an escape has several.
func holdingOf(members []Member) (h holding) {
	for _, m := range members {
		if texts := m.texts(); len(texts) > 0 {
			h = append(h, texts)
		}
	}
	return h
}

// texts are how the member is written, none where one of them has several ways.
func (m Member) texts() (texts [][]byte) {
	for _, v := range m.Values {
		if !unescaped(m.Name) || !unescaped(v) {
			return nil
		}
		texts = append(texts, []byte(`"`+m.Name+`":"`+v+`"`))
	}
	return texts
}

// unescaped reports whether every encoder of JSON writes a text as it is.
func unescaped(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return r < ' ' || r > '~' || strings.ContainsRune(`"\/<>&'`, r)
	})
}

// in reports whether data may match.
func (h holding) in(data []byte) bool {
	for _, texts := range h {
		if !anyIn(data, texts) {
			return false
		}
	}
	return true
}

func anyIn(data []byte, texts [][]byte) bool {
	for _, text := range texts {
		if bytes.Contains(data, text) {
			return true
		}
	}
	return false
}
