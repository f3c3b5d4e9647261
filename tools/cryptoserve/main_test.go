package main

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"cryptoserve/api/client"
	"cryptoserve/engine/fault"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"cryptoserve": main})
}

// TestSessions runs the sessions of testdata against a stand-in for a node. The script command `node` changes what it
// does; each session ends with a check that no output held the token.
func TestSessions(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			node := newNode()
			env.Defer(node.close)
			env.Values["node"] = node
			ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: node.server.Certificate().Raw})
			if err := os.WriteFile(filepath.Join(env.WorkDir, "ca.pem"), ca, 0o600); err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(env.WorkDir, "app.token"), []byte(goodToken+"\n"), 0o600); err != nil {
				return err
			}
			env.Setenv("SERVER", node.server.URL)
			env.Setenv("NOBODY", "https://127.0.0.1:1")
			env.Setenv("TOKEN", goodToken)
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"code":  checkCode,
			"node":  changeNode,
			"mode":  checkMode,
			"clean": checkClean,
			"asked": checkAsked,
		},
	})
}

// checkCode: `code N command args...` runs the program and wants exit code N. Its output can be matched afterwards.
func checkCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N command args...")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	var exit interface{ ExitCode() int }
	if errors.As(err, &exit) {
		got = fmt.Sprint(exit.ExitCode())
	} else if err != nil {
		ts.Fatalf("run %s: %v", args[1], err)
	}
	for _, stream := range []string{"stdout", "stderr"} {
		if strings.Contains(ts.ReadFile(stream), goodToken) {
			ts.Fatalf("%s shows the token", stream)
		}
	}
	if got != args[0] {
		ts.Fatalf("exit code %s, want %s", got, args[0])
	}
}

// checkAsked: `asked REGEXP` wants it in the last request: method, path and body. `! asked` wants that there was none at all.
func checkAsked(ts *testscript.TestScript, neg bool, args []string) {
	node, ok := ts.Value("node").(*node)
	if !ok || neg != (len(args) == 0) {
		ts.Fatalf("usage: asked REGEXP | ! asked")
	}
	node.mu.Lock()
	defer node.mu.Unlock()
	switch {
	case neg && node.count > 0:
		ts.Fatalf("the node was asked: %s", node.last)
	case !neg && !regexp.MustCompile(args[0]).MatchString(node.last):
		ts.Fatalf("the last request is %q", node.last)
	}
}

// changeNode: `node problem STATUS CODE`, `node state NAME`, `node page`, `node pairs`, `node cut`, `node open`, `node well`.
func changeNode(ts *testscript.TestScript, neg bool, args []string) {
	node, ok := ts.Value("node").(*node)
	if !ok || neg {
		ts.Fatalf("usage: node problem STATUS CODE | state NAME | page | pairs | cut | open | waits | fence MICROSECONDS | well")
	}
	ts.Check(node.change(args))
}

// checkMode: `mode 600 FILE` wants those permissions.
func checkMode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mode OCTAL FILE")
	}
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := fmt.Sprintf("%o", info.Mode().Perm()); got != args[0] {
		ts.Fatalf("mode of %s is %s, want %s", args[1], got, args[0])
	}
}

// checkClean: `clean DIR names...` wants exactly these files in a folder, hidden ones included.
func checkClean(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: clean DIR names...")
	}
	entries, err := os.ReadDir(ts.MkAbs(args[0]))
	ts.Check(err)
	var got []string
	for _, entry := range entries {
		got = append(got, entry.Name())
	}
	if strings.Join(got, " ") != strings.Join(args[1:], " ") {
		ts.Fatalf("%s holds %q, want %q", args[0], got, args[1:])
	}
}

// blocked is a standard input on which nothing comes. It tells when somebody reads from it.
type blocked struct{ reading, end chan struct{} }

func (b blocked) Read([]byte) (int, error) {
	close(b.reading)
	<-b.end
	return 0, io.EOF
}

// TestInterruptLeavesNothing interrupts a command that waits for its input and has already prepared its output.
func TestInterruptLeavesNothing(t *testing.T) {
	node := newNode()
	defer node.close()
	dir := t.TempDir()
	env := map[string]string{"CRYPTOSERVE_SERVER": node.server.URL, "CRYPTOSERVE_TOKEN": goodToken}
	ctx, cancel := context.WithCancelCause(t.Context())
	stdin := blocked{make(chan struct{}), make(chan struct{})}
	defer close(stdin.end)
	go func() {
		<-stdin.reading
		cancel(errors.New("interrupt signal received"))
	}()
	var stdout, stderr bytes.Buffer
	args := []string{"encrypt", "--context", "x", "--out", filepath.Join(dir, "x.enc")}
	if code := run(ctx, args, func(name string) string { return env[name] }, stdin, &stdout, &stderr); code != exitError {
		t.Errorf("exit code %d, want %d", code, exitError)
	}
	if !strings.Contains(stderr.String(), "interrupt signal received") || stdout.Len() != 0 {
		t.Errorf("standard error %q, standard output %q", stderr.String(), stdout.String())
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestExitCodes(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want int
	}{
		{"anything else", errors.New("x"), exitError},
		{"usage", fmt.Errorf("x: %w", usagef("y")), exitUsage},
		{"400", &client.Error{Status: 400}, exitError},
		{"401", &client.Error{Status: 401}, exitDenied},
		{"403", fmt.Errorf("x: %w", &client.Error{Status: 403}), exitDenied},
		{"404", &client.Error{Status: 404}, exitError},
		{"409", &client.Error{Status: 409}, exitConflict},
		{"429", &client.Error{Status: 429}, exitError},
		{"500", &client.Error{Status: 500}, exitError},
		{"503", &client.Error{Status: 503}, exitNotReady},
		{"not reachable", &client.ConnectError{Err: errors.New("refused")}, exitNotReady},
		{"not in time", context.DeadlineExceeded, exitNotReady},
		{"interrupted", context.Canceled, exitError},
		{"no token", client.ErrNoToken, exitUsage},
		{"not ready", errNotReady, exitNotReady},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := exitCode(tt.err); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

// TestEveryProblemHasNextStep keeps the hints complete when a kind of failure is added.
func TestEveryProblemHasNextStep(t *testing.T) {
	known := map[string]bool{}
	for _, kind := range fault.Kinds() {
		known[kind.Code()] = true
		if kind == fault.Malformed {
			continue // its detail and its fields say what to change
		}
		if hintFor(&client.Error{Code: kind.Code()}) == "" {
			t.Errorf("no next step for %q", kind.Code())
		}
	}
	for code := range problemHints {
		if !known[code] {
			t.Errorf("a next step for %q, which no node sends", code)
		}
	}
}
