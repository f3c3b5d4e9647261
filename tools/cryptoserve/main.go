// Command cryptoserve is the command line of the CryptoServe Appliance. It speaks only the REST API, needs no library of
// the system and runs anywhere a static program runs.
//
// What is printed where: results go to standard output (or to the file of --out), everything else to standard error.
// A token, a plaintext or a ciphertext is never part of an error.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// version is set by the linker, see the Makefile.
var version = "devel"

func main() {
	// After the first signal a command cleans up and ends; the second one ends the process at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	code := run(ctx, os.Args[1:], os.Getenv, os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
