package worker

// bell has the goroutine of an attempt look at what others have left for it. One ring may
// stand for several.
type bell struct{ rings chan struct{} }

func newBell() bell { return bell{make(chan struct{}, 1)} }

func (b bell) ring() {
	select {
	case b.rings <- struct{}{}:
	default:
	}
}
