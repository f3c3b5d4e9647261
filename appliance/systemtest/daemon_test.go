package systemtest

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"cryptoserve/api/apitest"
	"cryptoserve/api/wire"
)

// binary is the daemon, built once.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "cryptoserved")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "cryptoserved")
	if err := os.Chmod(dir, 0o755); err != nil { // #nosec G302 -- a daemon of another user runs from it
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	build := exec.Command("go", "build", raceFlag, "-o", binary, "cryptoserve/appliance/cmd/cryptoserved")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	build.Env = append(os.Environ(), "GOFIPS140=v1.0.0") // as the release is built
	code := 1
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build the daemon:", err)
	} else {
		code = m.Run()
	}
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// startTimeout is far above what a start takes: it ends a test that hangs.
const startTimeout = 60 * time.Second

// daemon is a running process.
type daemon struct {
	t      testing.TB
	dir    string
	url    string
	cmd    *exec.Cmd
	stderr *lockedBuffer
	done   chan struct{} // closed when the process has ended
	err    error         // of the process, once done
}

// lockedBuffer collects what a process writes while a test reads it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// launch starts the daemon and does not wait for it to be ready. Its standard output comes on the channel, line by line.
func launch(t testing.TB, args ...string) (*daemon, <-chan string) {
	t.Helper()
	return launchAs(t, nil, args...)
}

// launchAs starts the daemon as another user, nil for that of the test.
func launchAs(t testing.TB, user *syscall.Credential, args ...string) (*daemon, <-chan string) {
	t.Helper()
	d := &daemon{t: t, cmd: exec.Command(binary, args...), stderr: &lockedBuffer{}, done: make(chan struct{})}
	d.cmd.Stderr = d.stderr
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: user}
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 16)
	go func() {
		s := bufio.NewScanner(out)
		for s.Scan() {
			lines <- s.Text()
		}
		close(lines)
		d.err = d.cmd.Wait()
		close(d.done)
	}()
	t.Cleanup(func() {
		d.kill()
		if t.Failed() {
			t.Logf("log of %v:\n%s", args, d.stderr)
		}
	})
	return d, lines
}

// start starts the daemon and waits until it says that it is ready.
func start(t testing.TB, dir string, args ...string) *daemon {
	t.Helper()
	return startAs(t, nil, dir, args...)
}

func startAs(t testing.TB, user *syscall.Credential, dir string, args ...string) *daemon {
	t.Helper()
	d, lines := launchAs(t, user, args...)
	d.dir = dir
	select {
	case line, ok := <-lines:
		url, found := strings.CutPrefix(line, "ready ")
		if !ok || !found {
			<-d.done
			t.Fatalf("%v ended with %v:\n%s", args, d.err, d.stderr)
		}
		d.url = url
	case <-time.After(startTimeout):
		t.Fatalf("%v is not ready:\n%s", args, d.stderr)
	}
	return d
}

func dev(t testing.TB, dir string, more ...string) *daemon {
	t.Helper()
	return start(t, dir, append([]string{"dev", "--dir", dir, "--listen", "127.0.0.1:0"}, more...)...)
}

// nobody is a user without privilege. Whoever runs the tests as root has every privilege, and no file is closed to him.
const nobody = 65534

// startUnprivileged runs the node of a dev directory as a user without privilege, with its config file.
func startUnprivileged(t *testing.T, dir string) *daemon {
	t.Helper()
	var user *syscall.Credential
	if os.Geteuid() == 0 {
		user = &syscall.Credential{Uid: nobody, Gid: nobody}
		for parent := filepath.Dir(dir); parent != os.TempDir() && parent != "/"; parent = filepath.Dir(parent) {
			if err := os.Chmod(parent, 0o711); err != nil { // #nosec G302 -- to be passed through
				t.Fatal(err)
			}
		}
		err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
			return errors.Join(err, os.Lchown(path, nobody, nobody))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return startAs(t, user, dir, "serve", "--config", filepath.Join(dir, "config.yaml"))
}

// edit replaces text in a file.
func edit(t *testing.T, path, from, to string) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(raw, []byte(from)) {
		t.Fatalf("%q is not in %s:\n%s", from, path, raw)
	}
	if err := os.WriteFile(path, bytes.ReplaceAll(raw, []byte(from), []byte(to)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// serve runs the node of a dev directory from a config file, changed by edits of the form "old", "new".
func serve(t *testing.T, dir string, edits ...string) *daemon {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, "config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(edits); i += 2 {
		if !bytes.Contains(raw, []byte(edits[i])) {
			t.Fatalf("%q is not in the config:\n%s", edits[i], raw)
		}
		raw = bytes.Replace(raw, []byte(edits[i]), []byte(edits[i+1]), 1)
	}
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return start(t, dir, "serve", "--config", file)
}

// refuses starts the daemon and wants it to end by itself with an error that contains each text.
func refuses(t *testing.T, args []string, texts ...string) {
	t.Helper()
	refusesWith(t, 1, args, texts...)
}

func refusesWith(t *testing.T, code int, args []string, texts ...string) {
	t.Helper()
	d, lines := launch(t, args...)
	select {
	case <-d.done:
	case <-time.After(startTimeout):
		t.Fatalf("%v did not end:\n%s", args, d.stderr)
	}
	for line := range lines {
		if strings.HasPrefix(line, "ready") {
			t.Fatalf("%v became ready", args)
		}
	}
	var exit *exec.ExitError
	if !errors.As(d.err, &exit) || exit.ExitCode() != code {
		t.Errorf("%v ended with %v, want exit code %d", args, d.err, code)
	}
	for _, text := range texts {
		if !strings.Contains(d.stderr.String(), text) {
			t.Errorf("%v does not say %q:\n%s", args, text, d.stderr)
		}
	}
	if strings.Contains(d.stderr.String(), "goroutine ") {
		t.Errorf("%v panicked:\n%s", args, d.stderr)
	}
}

// stop ends the daemon with SIGTERM and wants it to end well.
func (d *daemon) stop() {
	d.t.Helper()
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		d.t.Fatal(err)
	}
	select {
	case <-d.done:
	case <-time.After(startTimeout):
		d.t.Fatalf("the daemon does not stop:\n%s", d.stderr)
	}
	if d.err != nil {
		d.t.Fatalf("the daemon ended with %v:\n%s", d.err, d.stderr)
	}
}

// kill ends the daemon the way a power cut does, as far as a process goes.
func (d *daemon) kill() {
	if err := d.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		d.t.Error(err)
	}
	<-d.done
}

func (d *daemon) file(name string) string {
	d.t.Helper()
	raw, err := os.ReadFile(filepath.Join(d.dir, name))
	if err != nil {
		d.t.Fatal(err)
	}
	return strings.TrimSpace(string(raw))
}

// caller makes requests with one token. Every answer is checked against the API's document.
type caller struct {
	d     *daemon
	token string
	http  *http.Client
}

func (d *daemon) transport() *http.Transport {
	d.t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(d.file("ca.pem"))) {
		d.t.Fatal("ca.pem holds no certificate")
	}
	return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13}, MaxIdleConnsPerHost: 64}
}

func (d *daemon) as(tokenFile string) *caller {
	d.t.Helper()
	c := d.with("")
	if tokenFile != "" {
		c.token = d.file(tokenFile)
	}
	return c
}

func (d *daemon) with(token string) *caller {
	d.t.Helper()
	transport := d.transport()
	d.t.Cleanup(transport.CloseIdleConnections)
	return &caller{d: d, token: token, http: &http.Client{Transport: apitest.NewTransport(d.t, transport), Timeout: startTimeout}}
}

// do makes a request and returns status, headers and body. A body that is not a string or bytes goes out as JSON.
func (c *caller) do(method, path string, body any) (int, http.Header, []byte) {
	c.d.t.Helper()
	status, header, answer, err := c.try(method, path, body)
	if err != nil {
		c.d.t.Fatal(err)
	}
	return status, header, answer
}

func (c *caller) try(method, path string, body any) (int, http.Header, []byte, error) {
	return c.tryAs("", method, path, body)
}

// tryAs makes a request with a media type; empty means none.
func (c *caller) tryAs(mediaType, method, path string, body any) (int, http.Header, []byte, error) {
	var raw []byte
	switch b := body.(type) {
	case nil:
	case string:
		raw = []byte(b)
	case []byte:
		raw = b
	default:
		var err error
		if raw, err = json.Marshal(b); err != nil {
			return 0, nil, nil, err
		}
	}
	r, err := http.NewRequest(method, c.d.url+path, bytes.NewReader(raw))
	if err != nil {
		return 0, nil, nil, err
	}
	if mediaType != "" {
		r.Header.Set("Content-Type", mediaType)
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return 0, nil, nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, answer.Header, text, err
}

// ask makes a request that must answer 200 and reads the answer into out.
func ask[T any](c *caller, method, path string, body any) T {
	c.d.t.Helper()
	var out T
	status, _, raw := c.do(method, path, body)
	if status != http.StatusOK {
		c.d.t.Fatalf("%s %s: %d %s", method, path, status, raw)
	}
	if err := json.Unmarshal(raw, &out); err != nil {
		c.d.t.Fatal(err)
	}
	return out
}

// created is ask for a request that makes something: 201.
func created[T any](c *caller, path string, body any) T {
	c.d.t.Helper()
	var out T
	status, _, raw := c.do(http.MethodPost, path, body)
	if status != http.StatusCreated {
		c.d.t.Fatalf("POST %s: %d %s", path, status, raw)
	}
	if err := json.Unmarshal(raw, &out); err != nil {
		c.d.t.Fatal(err)
	}
	return out
}

// stream sends data of any size to a streaming route and returns the whole answer.
func (c *caller) stream(path string, data []byte) (int, []byte) {
	c.d.t.Helper()
	status, _, answer, err := c.tryAs("application/octet-stream", http.MethodPost, path, data)
	if err != nil {
		c.d.t.Fatal(err)
	}
	return status, answer
}

// fails makes a request that must answer with a problem of this status and code, and returns the problem.
func (c *caller) fails(status int, code, method, path string, body any) wire.Problem {
	c.d.t.Helper()
	got, header, raw := c.do(method, path, body)
	var p wire.Problem
	if err := json.Unmarshal(raw, &p); err != nil || got != status || p.Code != code || header.Get("Content-Type") != "application/problem+json" {
		c.d.t.Errorf("%s %s: %d %s, want %d %s", method, path, got, raw, status, code)
	}
	if p.RequestID == "" || p.RequestID != header.Get("X-Request-ID") {
		c.d.t.Errorf("%s %s: request id %q in the problem, %q in the header", method, path, p.RequestID, header.Get("X-Request-ID"))
	}
	return p
}

const (
	encryptPath = "/api/v1/crypto/encrypt"
	decryptPath = "/api/v1/crypto/decrypt"
	refreshPath = "/api/v1/auth/refresh"
)

func (c *caller) encrypt(context, plaintext string) wire.EncryptResponse {
	c.d.t.Helper()
	return ask[wire.EncryptResponse](c, http.MethodPost, encryptPath, wire.EncryptRequest{Context: context, Plaintext: []byte(plaintext)})
}

func (c *caller) opens(context string, ciphertext []byte, want string) {
	c.d.t.Helper()
	got := ask[wire.DecryptResponse](c, http.MethodPost, decryptPath, wire.DecryptRequest{Context: context, Ciphertext: ciphertext})
	if string(got.Plaintext) != want {
		c.d.t.Errorf("decrypted %q, want %q", got.Plaintext, want)
	}
}

// verifyAudit runs the verifier over the audit log of a directory and wants no findings.
func verifyAudit(t *testing.T, dir string) {
	t.Helper()
	out, err := exec.Command(binary, "audit", "verify", filepath.Join(dir, "audit")).CombinedOutput()
	if err != nil {
		t.Errorf("audit verify: %v\n%s", err, out)
	}
}

// copyTree copies the directory of a node and puts its new place into the config.
func copyTree(t *testing.T, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	// CopyFS keeps no modes; what the daemon checks is put right.
	for _, name := range []string{"token.pin", "token.so-pin"} {
		if err := os.Chmod(filepath.Join(to, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	edit(t, filepath.Join(to, "config.yaml"), from, to)
	return to
}
