package cli

import (
	"os"

	"golang.org/x/sys/windows"
)

// raw has a console give keys as they are typed. ok is false where f is none.
func raw(f *os.File) (restore func(), ok bool) {
	console := windows.Handle(f.Fd())
	var before uint32
	if windows.GetConsoleMode(console, &before) != nil {
		return nil, false
	}
	if windows.SetConsoleMode(console, before&^(windows.ENABLE_LINE_INPUT|windows.ENABLE_ECHO_INPUT)) != nil {
		return nil, false
	}
	return func() { _ = windows.SetConsoleMode(console, before) }, true
}

// windowSize is the size of a console in characters, 0 where f is none.
func windowSize(f *os.File) (width, height int) {
	var info windows.ConsoleScreenBufferInfo
	if windows.GetConsoleScreenBufferInfo(windows.Handle(f.Fd()), &info) != nil {
		return 0, 0
	}
	return int(info.Window.Right-info.Window.Left) + 1, int(info.Window.Bottom-info.Window.Top) + 1
}
