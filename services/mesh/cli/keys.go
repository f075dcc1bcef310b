package cli

import (
	"io"
	"os"
)

// typed has a terminal give its keys as they are typed, without showing them,
// and calls quit when one of them is q. Ctrl-C stays what it is. restore gives
// the terminal back as it was. Where in is no terminal, or that of another
// process in front, nothing happens.
func typed(in io.Reader, quit func()) (restore func()) {
	f, ok := in.(*os.File)
	if !ok {
		return func() {}
	}
	restore, ok = raw(f)
	if !ok {
		return func() {}
	}
	go func() { // it ends with the terminal, or with the process
		for key := make([]byte, 1); ; {
			if n, err := f.Read(key); n == 0 || err != nil {
				return
			}
			if key[0] == 'q' || key[0] == 'Q' {
				quit()
				return
			}
		}
	}()
	return restore
}
