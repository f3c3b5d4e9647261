package appliance

import (
	"crypto/fips140"
	"errors"
	"fmt"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/selftest"
)

// checkFIPS refuses to start a node with fips.mode enabled whose program does not have a frozen Go Cryptographic Module in
// its FIPS mode. The module has run its integrity and self-tests by then: it ends the program when one fails.
func checkFIPS(mode algs.Mode) error {
	if mode != algs.Enabled {
		return nil
	}
	switch {
	case !fips140.Enabled():
		return errors.New("fips.mode is enabled, and the Go Cryptographic Module is not in its FIPS mode: remove fips140=off from GODEBUG")
	case !algs.FrozenModule(fips140.Version()):
		return errors.New("fips.mode is enabled, and this program was built without a frozen Go Cryptographic Module: " +
			"install the release build, or build with `make build`, which sets GOFIPS140=v1.0.0")
	}
	return nil
}

// knownAnswers is a variable for the test that makes it fail.
var knownAnswers = selftest.Run

// selfTest checks the FIPS mode and runs known answers through every algorithm, before the token is touched and long before
// the listener opens.
func (n *node) selfTest() error {
	mode, err := n.config.FIPS.mode()
	if err != nil {
		return err
	}
	if err := checkFIPS(mode); err != nil {
		return err
	}
	if err := knownAnswers(); err != nil {
		return fmt.Errorf("self-test: %w; this program or this machine computes wrongly and must not serve", err)
	}
	return nil
}
