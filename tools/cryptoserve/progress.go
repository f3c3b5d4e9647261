package main

import (
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// terminal reports whether a stream is one on which a person looks.
func terminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// meter shows how far a stream is. Its zero value shows nothing.
type meter struct {
	bar  *progressbar.ProgressBar
	left int64 // of a bar with an end
}

// newMeter returns a meter for about size bytes, -1 when that is not known. It shows itself only to a person.
func (a *app) newMeter(quiet bool, what string, size int64) *meter {
	if quiet || !terminal(a.stderr) {
		return &meter{}
	}
	return meterOn(a.stderr, what, size)
}

func meterOn(w io.Writer, what string, size int64) *meter {
	return &meter{left: size, bar: progressbar.NewOptions64(size,
		progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(what), progressbar.OptionShowBytes(true),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(), progressbar.OptionSetWidth(30),
		// A spinner that turns by itself is a goroutine that goes on drawing after end.
		progressbar.OptionSetSpinnerChangeInterval(0),
	)}
}

// Write counts what passes.
func (m *meter) Write(p []byte) (int, error) {
	if m.bar == nil {
		return len(p), nil
	}
	n := int64(len(p))
	if m.left >= 0 { // the bar refuses more than it was told
		n = min(n, m.left)
		m.left -= n
	}
	_ = m.bar.Add64(n) // a bar that cannot be drawn does not spoil the result
	return len(p), nil
}

// end takes the bar away.
func (m *meter) end() {
	if m.bar != nil {
		_ = m.bar.Clear()
		_ = m.bar.Exit()
	}
}
