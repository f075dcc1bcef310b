//go:build !race

package natstest

// Race says that the race detector runs.
const Race = false
