//go:build unix && !linux

package cli

import "golang.org/x/sys/unix"

// Requests for the settings of a terminal.
const (
	getTermios = unix.TIOCGETA
	setTermios = unix.TIOCSETA
)
