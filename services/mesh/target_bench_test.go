package main

import (
	"net/http"
	"testing"
)

// BenchmarkTarget is the whole path as it is run, beside the floor: 32 clients with
// API keys, one trace in a hundred exported. The ratio of the two rates is the target:
// 0.9 synced, 0.85 unsynced.
func BenchmarkTarget(b *testing.B) {
	for _, sync := range []string{"always", "2m"} {
		b.Run("sync="+sync+"/impl=floor", func(b *testing.B) {
			benchPost(b, benchFloor(b, sync == "always").URL, 32, "wait=30", http.StatusOK)
		})
		b.Run("sync="+sync+"/impl=mesh", func(b *testing.B) {
			benchTraced(b, "0.01")
			_, st := benchParts(b, sync == "always", benchEcho())
			front, key := benchAsking(b, st)
			benchPost(b, front.URL, 32, "wait=30", http.StatusOK, "Authorization", "Bearer "+key)
		})
	}
}
