package vectortest

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"
)

// Mark begins the line in which a test reports its account; JSON follows.
const Mark = "VECTORS "

// Line is the account of one algorithm and source as it is reported.
type Line struct {
	Algorithm string         `json:"algorithm"`
	Source    string         `json:"source"`
	Cases     int            `json:"cases"` // passed, failed and left out
	Passed    int            `json:"passed"`
	Accepted  int            `json:"accepted"` // of the passed, those whose input is valid; the others were refused as they should be
	LeftOut   map[string]int `json:"left_out,omitempty"`
}

// Account counts the cases of one algorithm from one source. Goroutines may share it.
type Account struct {
	t    testing.TB
	mu   sync.Mutex
	line Line
}

// New returns an account that is reported when the test ends. An account without a case that passed fails the test.
func New(t testing.TB, algorithm, source string) *Account {
	t.Helper()
	a := &Account{t: t, line: Line{Algorithm: algorithm, Source: source, LeftOut: map[string]int{}}}
	t.Cleanup(func() {
		t.Helper()
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.line.Passed == 0 {
			t.Errorf("no case of %s from %s passed", algorithm, source)
		}
		text, err := json.Marshal(a.line)
		if err != nil {
			t.Error(err)
		}
		t.Logf("%s%s", Mark, text)
	})
	return a
}

// Check accounts for one case. valid tells whether the vector calls the input valid, err what our code made of it.
func (a *Account) Check(id any, valid bool, err error) {
	a.t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.line.Cases++
	switch {
	case valid && err != nil:
		a.t.Errorf("%s from %s, case %v: valid, and refused: %v", a.line.Algorithm, a.line.Source, id, err)
	case !valid && err == nil:
		a.t.Errorf("%s from %s, case %v: invalid, and accepted", a.line.Algorithm, a.line.Source, id)
	default:
		a.line.Passed++
		if valid {
			a.line.Accepted++
		}
	}
}

// LeaveOut accounts for a case that does not apply here, with the reason that is printed.
func (a *Account) LeaveOut(reason string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.line.Cases++
	a.line.LeftOut[reason]++
}

// Differ returns an error that does not show the values when got is not want; nil when they are equal.
func Differ[T comparable](what string, got, want T) error {
	if got == want {
		return nil
	}
	return fmt.Errorf("%s differs", what)
}
