// Command softhsm-install installs SoftHSM2 with the machine's package manager unless it is there. `make deps` runs it.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"cryptoserve/softhsm"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := softhsm.Install(ctx, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "softhsm-install:", err)
		os.Exit(1)
	}
}
