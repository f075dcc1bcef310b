package gateway

// openFiles is how many handles this process may have: Windows bounds them by
// memory alone.
func openFiles() int64 { return 1 << 24 }
