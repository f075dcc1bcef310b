package exec

import "sync"

// words are what a program is still to be told. Whoever adds to them does not wait.
type words struct {
	mu   sync.Mutex
	text []byte
	bell chan struct{}
	over chan struct{} // closed when there will be no more
	once sync.Once
}

func newWords() *words {
	return &words{bell: make(chan struct{}, 1), over: make(chan struct{})}
}

func (w *words) add(text []byte) {
	w.mu.Lock()
	w.text = append(w.text, text...)
	w.mu.Unlock()
	select {
	case w.bell <- struct{}{}:
	default:
	}
}

// next waits for words; nil: there will be none.
func (w *words) next() []byte {
	for {
		w.mu.Lock()
		text := w.text
		w.text = nil
		w.mu.Unlock()
		if text != nil {
			return text
		}
		select {
		case <-w.bell:
		case <-w.over:
			return nil
		}
	}
}

func (w *words) end() { w.once.Do(func() { close(w.over) }) }
