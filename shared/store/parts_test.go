package store_test

import (
	"reflect"
	"testing"

	"agentmesh/shared/store"
)

// TestAStoreIsMadeOfSmallParts keeps each part short enough to be read at once.
func TestAStoreIsMadeOfSmallParts(t *testing.T) {
	const most = 25
	parts := []reflect.Type{reflect.TypeFor[*store.Store]()}
	for f := range reflect.TypeFor[store.Store]().Fields() {
		if f.IsExported() {
			parts = append(parts, f.Type)
		}
	}
	if len(parts) < 10 {
		t.Fatalf("only %d parts were found", len(parts))
	}
	for _, p := range parts {
		if n := p.NumMethod(); n > most {
			t.Errorf("%v has %d methods, allowed are %d", p, n, most)
		}
	}
}
