// Command cryptoserved is the daemon of the CryptoServe appliance.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"cryptoserve/appliance"
)

// Exit codes, the same for both programs: DESIGN section 10.
const (
	exitError  = 1
	exitUsage  = 2
	exitDenied = 3 // the token refused the PIN: starting again would use up another try
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	// A second signal ends the program at once.
	context.AfterFunc(ctx, stop)
	err := newRoot(os.Stdout, os.Stderr).ExecuteContext(ctx)
	stop()
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "cryptoserved:", err)
	var usage usageError
	switch {
	case errors.As(err, &usage):
		os.Exit(exitUsage)
	case errors.Is(err, appliance.ErrPIN):
		os.Exit(exitDenied)
	default:
		os.Exit(exitError)
	}
}

// usageError is a mistake in how the program was called.
type usageError struct{ error }
