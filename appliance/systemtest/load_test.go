package systemtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"cryptoserve/api/wire"
)

// made is what a caller was told: the plaintext, its ciphertext, the key and the request id of the answer.
type made struct {
	plaintext  string
	ciphertext []byte
	requestID  string
}

// load encrypts from several connections until stop is closed or the daemon goes away.
type load struct {
	mu   sync.Mutex
	made []made
	all  sync.WaitGroup
	n    atomic.Int64
}

func (l *load) add(m made) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.made = append(l.made, m)
	l.n.Add(1)
}

func encryptOnce(client *http.Client, url, token, plaintext string, trace *httptrace.ClientTrace) (made, error) {
	body, err := json.Marshal(wire.EncryptRequest{Context: "default", Plaintext: []byte(plaintext)})
	if err != nil {
		return made{}, err
	}
	r, err := http.NewRequest(http.MethodPost, url+encryptPath, strings.NewReader(string(body)))
	if err != nil {
		return made{}, err
	}
	if trace != nil {
		r = r.WithContext(httptrace.WithClientTrace(r.Context(), trace))
	}
	r.GetBody = nil // no silent repetition
	r.Header.Set("Authorization", "Bearer "+token)
	answer, err := client.Do(r)
	if err != nil {
		return made{}, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return made{}, fmt.Errorf("status %d", answer.StatusCode)
	}
	var out wire.EncryptResponse
	if err := json.NewDecoder(answer.Body).Decode(&out); err != nil {
		return made{}, err
	}
	return made{plaintext, out.Ciphertext, answer.Header.Get("X-Request-ID")}, nil
}

// TestInvariant03And06KillUnderLoad kills the daemon with SIGKILL while eight connections encrypt and the owner rotates, starts
// it again and wants everything that was acknowledged: each ciphertext opens, each request has its audit record, the chain
// holds, and each rotation that was answered is there.
func TestInvariant03And06KillUnderLoad(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "D")
	d := dev(t, dir)
	transport := d.transport()
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	token, owner := d.file("app.token"), d.with(d.file("owner.token"))
	var l load
	for worker := range 8 {
		l.all.Go(func() {
			for i := 0; ; i++ {
				m, err := encryptOnce(client, d.url, token, fmt.Sprintf("%d/%d", worker, i), nil)
				if err != nil {
					return
				}
				l.add(m)
			}
		})
	}
	var versions atomic.Uint32
	l.all.Go(func() {
		for {
			status, _, raw, err := owner.try(http.MethodPost, "/api/v1/contexts/default/rotate", nil)
			var out wire.RotateResponse
			if err != nil || status != http.StatusOK || json.Unmarshal(raw, &out) != nil {
				return
			}
			versions.Store(out.Version)
		}
	})
	waitFor(t, "enough load", func() bool { return l.n.Load() > 500 && versions.Load() > 3 })
	d.kill()
	l.all.Wait()
	verifyAudit(t, dir)

	d = dev(t, dir)
	app := d.as("app.token")
	for _, m := range l.made {
		app.opens("default", m.ciphertext, m.plaintext)
	}
	var version uint32
	for _, c := range ask[wire.ContextsResponse](app, http.MethodGet, "/api/v1/contexts", nil).Contexts {
		if c.Name == "default" {
			version = c.Version
		}
	}
	if version < versions.Load() {
		t.Errorf("version %d is active, %d was acknowledged", version, versions.Load())
	}
	d.stop()
	verifyAudit(t, dir)
	recorded := auditText(t, dir)
	for _, m := range l.made {
		if !strings.Contains(recorded, `"request_id":"`+m.requestID+`"`) {
			t.Fatalf("request %s was answered and is not in the audit log", m.requestID)
		}
	}
	t.Logf("%d ciphertexts and %d rotations were acknowledged before the kill", len(l.made), versions.Load()-1)
}

func auditText(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "audit", "*.log"))
	if err != nil || len(files) == 0 {
		t.Fatalf("audit segments: %v, %v", files, err)
	}
	var all strings.Builder
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(raw)
	}
	return all.String()
}

// TestStopLosesNoRequest sends SIGTERM under load. A request that went out on a connection must be answered; a connection
// that could not be made, or no handshake on it, is no request.
func TestStopLosesNoRequest(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "D")
	d := dev(t, dir)
	transport := d.transport()
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	token := d.file("app.token")
	var l load
	var lost atomic.Int64
	for worker := range 8 {
		l.all.Go(func() {
			for i := 0; ; i++ {
				var sent atomic.Bool
				trace := &httptrace.ClientTrace{
					WroteRequest: func(i httptrace.WroteRequestInfo) { sent.Store(i.Err == nil) },
				}
				m, err := encryptOnce(client, d.url, token, fmt.Sprintf("%d/%d", worker, i), trace)
				if err != nil {
					if sent.Load() {
						lost.Add(1)
						t.Errorf("a request was sent and not answered: %v", err)
					}
					if !errors.Is(err, syscall.ECONNREFUSED) && !sent.Load() {
						t.Logf("not sent: %v", err)
					}
					return
				}
				l.add(m)
			}
		})
	}
	waitFor(t, "enough load", func() bool { return l.n.Load() > 300 })
	d.stop()
	l.all.Wait()
	if lost.Load() > 0 {
		t.Errorf("%d of %d requests were lost", lost.Load(), l.n.Load())
	}
	verifyAudit(t, dir)
}
