package load

import (
	"math"
	"slices"
	"time"
)

// Figures are those of one part.
type Figures struct {
	Tasks     int     `json:"tasks"`
	Seconds   float64 `json:"seconds"`
	PerSecond float64 `json:"per_second"`
	P50       float64 `json:"p50_ms"`
	P90       float64 `json:"p90_ms"`
	P99       float64 `json:"p99_ms"`
	P999      float64 `json:"p99_9_ms"`
	Max       float64 `json:"max_ms"`
	CPU       float64 `json:"cpu_us_per_task,omitempty"` // 0: not known
}

// figures are those of what each client has taken.
func figures(took [][]time.Duration, whole, cpu time.Duration) *Figures {
	all := slices.Concat(took...)
	f := &Figures{Tasks: len(all), Seconds: whole.Seconds()}
	if len(all) == 0 {
		return f
	}
	slices.Sort(all)
	f.PerSecond = float64(len(all)) / whole.Seconds()
	f.P50, f.P90, f.P99, f.P999 = at(all, 0.5), at(all, 0.9), at(all, 0.99), at(all, 0.999)
	f.Max = milliseconds(all[len(all)-1])
	f.CPU = float64(cpu.Microseconds()) / float64(len(all))
	return f
}

// at is the smallest of the sorted times that a share of them does not exceed.
func at(sorted []time.Duration, share float64) float64 {
	i := int(math.Ceil(share*float64(len(sorted)))) - 1
	return milliseconds(sorted[max(i, 0)])
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
