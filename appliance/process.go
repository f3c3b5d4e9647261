package appliance

import (
	"fmt"
	"log/slog"

	"golang.org/x/sys/unix"
)

// forbidCoreDumps keeps keys in process memory out of core files and away from other processes of the same user.
func forbidCoreDumps() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("core dumps cannot be switched off: %w", err)
	}
	return hideMemory()
}

func logLevel(name string) (slog.Level, error) {
	switch name {
	case "debug":
		return slog.LevelDebug, nil
	case "", "info":
		return slog.LevelInfo, nil
	case "warn":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	default:
		return 0, fmt.Errorf("%q is not debug, info, warn or error", name)
	}
}
