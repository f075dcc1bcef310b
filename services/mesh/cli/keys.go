package cli

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
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
	fd := int(f.Fd())
	before, err := unix.IoctlGetTermios(fd, getTermios)
	if err != nil {
		return func() {}
	}
	if front, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP); err == nil && front != unix.Getpgrp() && front != 0 {
		return func() {} // a process behind that touches the terminal is stopped
	}
	now := *before
	now.Lflag &^= unix.ICANON | unix.ECHO
	now.Cc[unix.VMIN], now.Cc[unix.VTIME] = 1, 0
	if unix.IoctlSetTermios(fd, setTermios, &now) != nil {
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
	return func() { _ = unix.IoctlSetTermios(fd, setTermios, before) }
}
