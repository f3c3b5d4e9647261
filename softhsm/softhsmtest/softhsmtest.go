// Package softhsmtest gives each test a SoftHSM2 of its own.
package softhsmtest

import (
	"testing"

	"cryptoserve/softhsm"
)

// New returns the path of the SoftHSM2 module and a fresh, empty store that the process uses until the test ends. It
// fails the test when SoftHSM2 is not installed. Tests that call it cannot run in parallel: a process has one store.
// Whatever initialised the module must have finalised it before the test ends; register that by tb.Cleanup after New.
func New(tb testing.TB) (library string, store *softhsm.Store) {
	tb.Helper()
	library, err := softhsm.Library()
	if err != nil {
		tb.Fatal(err)
	}
	store, err = softhsm.Create(tb.TempDir())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Setenv(softhsm.ConfEnv, store.Conf())
	return library, store
}
