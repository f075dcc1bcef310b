//go:build !linux

package natstest

func inMemory() (end func()) { return func() {} }
