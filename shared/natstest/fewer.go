package natstest

// Fewer is how many of something large a test makes: n, and a fifth of it under the
// race detector, which is ten times as slow and looks at paths, not at numbers.
func Fewer(n int) int {
	if Race {
		return n / 5
	}
	return n
}
