package appliance

import (
	"fmt"
	"os"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// gcPercent lets the heap grow to five times what is live before it is collected. What lives is a few megabytes and each
// request makes garbage, so the usual factor of two collects dozens of times a second under load: measured with a factor
// of four, a tenth more operations without that. The variable GOGC overrides it, as usual.
const gcPercent = 400

// memoryLimit is what the collector tries to stay below when requests hold much memory for a moment. It is no hard bound. The
// variable GOMEMLIMIT overrides it, as usual.
const memoryLimit = 512 << 20

func tuneGC() {
	if _, set := os.LookupEnv("GOMEMLIMIT"); !set {
		debug.SetMemoryLimit(memoryLimit)
	}
	if _, set := os.LookupEnv("GOGC"); !set {
		debug.SetGCPercent(gcPercent)
	}
}

// forbidCoreDumps keeps keys in process memory out of core files and away from other processes of the same user.
func forbidCoreDumps() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("core dumps cannot be switched off: %w", err)
	}
	return hideMemory()
}
