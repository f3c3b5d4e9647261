//go:build !linux

package audit

import (
	"errors"
	"testing"
)

func mountSmall(*testing.T, string) error { return errors.New("only Linux has tmpfs") }
