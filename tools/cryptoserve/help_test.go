package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// TestEveryCommandIsDocumented keeps the help complete when a command is added.
func TestEveryCommandIsDocumented(t *testing.T) {
	a := &app{}
	count := 0
	var check func(cmd *cobra.Command)
	check = func(cmd *cobra.Command) {
		count++
		path := cmd.CommandPath()
		if cmd.Short == "" || cmd.Long == "" || cmd.Example == "" || cmd.Args == nil {
			t.Errorf("%s lacks a Short, Long, Example or Args", path)
		}
		if !strings.Contains(cmd.Example, "cryptoserve") || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: the example does not call the program, or the short text ends with a full stop", path)
		}
		for _, line := range strings.Split(cmd.Long, "\n") {
			if len(line) > 92 {
				t.Errorf("%s: a line of the help has %d characters: %s", path, len(line), line)
			}
		}
		for _, sub := range cmd.Commands() {
			check(sub)
		}
	}
	check(a.root())
	if count < 40 {
		t.Errorf("only %d commands were looked at", count)
	}
}

// TestMeter checks that a bar never gets in the way of what it counts, however much comes.
func TestMeter(t *testing.T) {
	for name, size := range map[string]int64{"known": 100, "unknown": -1, "empty": 0} {
		var screen bytes.Buffer
		m := meterOn(&screen, "encrypting", size)
		for range 10 {
			if n, err := m.Write(make([]byte, 25)); n != 25 || err != nil {
				t.Errorf("%s: %d, %v", name, n, err)
			}
		}
		m.end()
		shown := screen.Len()
		if size < 0 { // nothing draws any more, which the race detector watches too
			time.Sleep(250 * time.Millisecond)
		}
		if screen.Len() != shown {
			t.Errorf("%s: the bar went on after its end", name)
		}
		if size != 0 && !strings.Contains(screen.String(), "encrypting") {
			t.Errorf("%s: nothing was shown: %q", name, screen.String())
		}
	}
	var none meter
	if n, err := none.Write(make([]byte, 3)); n != 3 || err != nil {
		t.Errorf("without a bar: %d, %v", n, err)
	}
	none.end()
	if terminal(&bytes.Buffer{}) {
		t.Error("a buffer is no terminal")
	}
}
