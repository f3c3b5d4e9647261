//go:build !linux

package fence

import "time"

var started = time.Now()

// BootClock returns the nanoseconds since the process started. It is for development: unlike the clock that Linux has, it
// may stand still while the machine is suspended.
func BootClock() int64 { return int64(time.Since(started)) + 1 }
