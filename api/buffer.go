package api

// largestPooled is the largest buffer that is kept for another request. One request of 16 MiB must not make every later
// one hold as much.
const largestPooled = 256 << 10

// grow returns an empty buffer with room for n bytes: b when it is large enough. It never copies.
func grow(b []byte, n int) []byte {
	if cap(b) >= n {
		return b[:0]
	}
	return make([]byte, 0, max(n, 512))
}

// extend returns b with room for n more bytes. What it copies away from is overwritten.
func extend(b []byte, n int) []byte {
	if cap(b)-len(b) >= n {
		return b
	}
	longer := make([]byte, len(b), max(len(b)+n, 2*cap(b)))
	copy(longer, b)
	clear(b)
	return longer
}

// poolable returns b emptied, or nil when it is too large to keep.
func poolable(b []byte) []byte {
	if cap(b) > largestPooled {
		return nil
	}
	return b[:0]
}
