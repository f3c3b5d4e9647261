package main

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestDaemon runs the sessions of testdata/daemon against a real node with a SoftHSM2 token.
func TestDaemon(t *testing.T) { runDaemon(t, "daemon") }

// TestDaemonRestore has a node of its own: a restore ends the sessions of everybody.
func TestDaemonRestore(t *testing.T) { runDaemon(t, "daemonrestore") }

func runDaemon(t *testing.T, scripts string) {
	server, dir := startDaemon(t)
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", scripts),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("CRYPTOSERVE_SERVER", server)
			env.Setenv("CRYPTOSERVE_CA", filepath.Join(dir, "ca.pem"))
			env.Setenv("CRYPTOSERVE_TOKEN_FILE", filepath.Join(dir, "app.token"))
			env.Setenv("OWNER", filepath.Join(dir, "owner.token"))
			env.Setenv("APPLICATION", filepath.Join(dir, "app.token"))
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"code":  checkCode,
			"mode":  checkMode,
			"clean": checkClean,
			"spoil": spoil,
		},
	})
}

// spoil: `spoil FILE` changes the last byte of a file.
func spoil(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: spoil FILE")
	}
	name := ts.MkAbs(args[0])
	data, err := os.ReadFile(name)
	ts.Check(err)
	data[len(data)-1] ^= 1
	ts.Check(os.WriteFile(name, data, 0o600))
}

// startDaemon builds a node and starts it in a new folder. It returns its address and the folder.
func startDaemon(t *testing.T) (server, dir string) {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "cryptoserved")
	if out, err := exec.Command("go", "build", "-o", binary, "cryptoserve/appliance/cmd/cryptoserved").CombinedOutput(); err != nil {
		t.Fatalf("build the daemon: %v\n%s", err, out)
	}
	dir = t.TempDir()
	cmd := exec.Command(binary, "dev", "--dir", dir, "--listen", "127.0.0.1:0")
	var log bytes.Buffer
	cmd.Stderr = &log
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Errorf("stop the daemon: %v", err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("the daemon ended with %v", err)
		}
		if t.Failed() {
			t.Logf("its log:\n%s", &log)
		}
	})
	lines := make(chan string, 1)
	go func() {
		scanner := bufio.NewScanner(stdout)
		scanner.Scan()
		lines <- scanner.Text()
	}()
	select {
	case line := <-lines:
		server, ok := strings.CutPrefix(line, "ready ")
		if !ok {
			t.Fatalf("the daemon says %q", line)
		}
		return server, dir
	case <-time.After(time.Minute):
		t.Fatal("the daemon is not ready")
	}
	return "", ""
}
