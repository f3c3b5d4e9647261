package clustertest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestMain is also the program of the toy cluster: this binary, started again with the argument "toy".
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "toy" {
		fmt.Fprintln(os.Stderr, "toy:", runToy(os.Args[2:]))
		os.Exit(1)
	}
	if len(os.Args) > 2 && os.Args[1] == "behind" {
		fmt.Fprintln(os.Stderr, "behind:", runBehind(os.Args[2]))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// toy is a node of a replicated service that is just large enough to have the promises of the real one, and to break them. The first node
// always leads. Followers ask it for the state again and again, and may serve for a lease from when they asked.
type toy struct {
	name, dir string
	leader    string // where the leader is; empty on the leader
	lease     time.Duration
	bug       string
	client    *http.Client

	mu    sync.Mutex
	state toyState
	until time.Time           // a follower's lease
	seen  map[string]toySight // of each follower, on the leader
}

// The deliberate bugs. A stale lease never ends, as one that is fed from heartbeats. A lazy leader answers before the disk has the change.
// A double one makes two versions when it is asked for one and is slow.
const (
	bugStaleLease = "stale lease"
	bugLazy       = "lazy"
	bugDouble     = "double"
	bugDiverge    = "diverge"
)

type toyState struct {
	Index  uint64
	Rights map[string]bool
	Keys   map[string]uint64
}

type toySight struct {
	At    time.Time
	Index uint64
}

type toyRequest struct {
	Op, Object string
	Data       []byte
	Index      uint64
}

type toyAnswer struct {
	Value uint64
	Data  []byte
	State *toyState
}

func runToy(args []string) error {
	f := flag.NewFlagSet("toy", flag.ContinueOnError)
	t := &toy{client: &http.Client{Timeout: 300 * time.Millisecond}, seen: map[string]toySight{}}
	var listen, followers string
	f.StringVar(&t.name, "name", "", "")
	f.StringVar(&t.dir, "dir", "", "")
	f.StringVar(&listen, "listen", "", "")
	f.StringVar(&t.leader, "leader", "", "")
	f.StringVar(&followers, "followers", "[]", "")
	f.StringVar(&t.bug, "bug", "", "")
	f.DurationVar(&t.lease, "lease", 0, "")
	if err := f.Parse(args); err != nil {
		return err
	}
	t.state = toyState{Rights: map[string]bool{}, Keys: map[string]uint64{}}
	if t.leader == "" {
		var list []string
		if err := json.Unmarshal([]byte(followers), &list); err != nil {
			return err
		}
		for _, name := range list {
			t.seen[name] = toySight{At: time.Now()}
		}
		if raw, err := os.ReadFile(t.file()); err == nil {
			if err := json.Unmarshal(raw, &t.state); err != nil {
				return err
			}
		}
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	if t.leader != "" {
		go t.follow()
	} else if t.bug == bugLazy {
		go func() {
			for range time.Tick(300 * time.Millisecond) {
				t.mu.Lock()
				_ = t.persist()
				t.mu.Unlock()
			}
		}()
	}
	terminate := make(chan os.Signal, 1)
	signal.Notify(terminate, syscall.SIGTERM)
	go func() {
		<-terminate
		os.Exit(0)
	}()
	fmt.Printf("ready http://%s\n", l.Addr())
	return http.Serve(l, t)
}

func (t *toy) file() string { return filepath.Join(t.dir, "state.json") }

// persist writes the state in place of the old one.
func (t *toy) persist() error {
	raw, err := json.Marshal(t.state)
	if err != nil {
		return err
	}
	f, err := os.Create(t.file() + ".new")
	if err != nil {
		return err
	}
	_, err = f.Write(raw)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(t.file()+".new", t.file())
}

func (t *toy) follow() {
	for {
		t.mu.Lock()
		index := t.state.Index
		t.mu.Unlock()
		asked := time.Now()
		if answer, status := t.ask(toyRequest{Op: "poll", Object: t.name, Index: index}); status == http.StatusOK {
			t.mu.Lock()
			if answer.State.Index >= t.state.Index {
				t.state = *answer.State
				t.until = asked.Add(t.lease)
			}
			if t.bug == bugDiverge && t.name == "n3" && t.state.Index > 20 {
				t.state.Rights["n3 only"] = true
			}
			t.mu.Unlock()
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// ask asks the leader. Status 0 is no answer.
func (t *toy) ask(q toyRequest) (a toyAnswer, status int) {
	raw, _ := json.Marshal(q)
	r, err := t.client.Post(t.leader, "application/json", bytes.NewReader(raw))
	if err != nil {
		return a, 0
	}
	defer r.Body.Close()
	if json.NewDecoder(r.Body).Decode(&a) != nil {
		return a, 0
	}
	return a, r.StatusCode
}

func (t *toy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var q toyRequest
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	a, status := t.handle(q)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(a)
}

func (t *toy) handle(q toyRequest) (toyAnswer, int) {
	switch q.Op {
	case "encrypt", "decrypt":
		return t.use(q)
	case "open", "digest":
		return t.look(q)
	case "poll":
		t.mu.Lock()
		defer t.mu.Unlock()
		t.seen[q.Object] = toySight{At: time.Now(), Index: q.Index}
		state := toyState{t.state.Index, maps.Clone(t.state.Rights), maps.Clone(t.state.Keys)}
		return toyAnswer{State: &state}, http.StatusOK
	}
	if t.leader != "" {
		a, status := t.ask(q)
		if status == 0 {
			status = http.StatusServiceUnavailable
		}
		return a, status
	}
	return t.change(q)
}

// allowed is the check of a use: lease, then state, then clock.
func (t *toy) allowed(right string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	given := t.state.Rights[right]
	switch {
	case t.leader != "" && (t.until.IsZero() || t.bug != bugStaleLease && time.Now().After(t.until)):
		return http.StatusServiceUnavailable
	case !given:
		return http.StatusForbidden
	}
	return http.StatusOK
}

func (t *toy) use(q toyRequest) (a toyAnswer, status int) {
	if status = t.allowed(q.Object); status != http.StatusOK {
		return a, status
	}
	if _, err := os.Stat(filepath.Join(t.dir, "token")); err != nil {
		return a, http.StatusServiceUnavailable
	}
	time.Sleep(time.Millisecond)
	if q.Op == "encrypt" {
		a.Data = append([]byte(q.Object+"\x00"), q.Data...)
	} else if _, plain, ok := bytes.Cut(q.Data, []byte{0}); ok {
		a.Data = plain
	}
	return a, t.allowed(q.Object)
}

func (t *toy) look(q toyRequest) (a toyAnswer, status int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if q.Op == "open" {
		if _, known := t.state.Rights[q.Object]; !known {
			return a, http.StatusNotFound
		}
		_, a.Data, _ = bytes.Cut(q.Data, []byte{0})
		return a, http.StatusOK
	}
	raw, _ := json.Marshal(t.state)
	return toyAnswer{Value: t.state.Index, Data: fmt.Appendf(nil, "%x", sha256.Sum256(raw))}, http.StatusOK
}

func (t *toy) change(q toyRequest) (a toyAnswer, status int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := toyState{t.state.Index, maps.Clone(t.state.Rights), maps.Clone(t.state.Keys)}
	given, known := t.state.Rights[q.Object]
	switch q.Op {
	case "read right":
		if given {
			a.Value = 1
		}
		return a, http.StatusOK
	case "read version":
		return toyAnswer{Value: t.state.Keys[q.Object]}, http.StatusOK
	case "create":
		t.state.Rights[q.Object] = true
	case "key":
		t.state.Keys[q.Object] = 1
	case "rotate":
		t.state.Keys[q.Object]++
		if t.bug == bugDouble && t.state.Keys[q.Object]%5 == 0 {
			t.state.Keys[q.Object]++
		}
		a.Value = t.state.Keys[q.Object]
	case "revoke", "re-grant":
		if !known {
			return a, http.StatusNotFound
		}
		t.state.Rights[q.Object] = q.Op == "re-grant"
	default:
		return a, http.StatusBadRequest
	}
	t.state.Index++
	if t.bug != bugLazy {
		if err := t.persist(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			t.state = old
			return a, http.StatusServiceUnavailable
		}
	}
	if q.Op == "revoke" {
		t.fence(t.state.Index)
	}
	return a, http.StatusOK
}

// fence waits, without the lock that it is called with, until each follower knows the state or has no lease any more.
func (t *toy) fence(index uint64) {
	for name := range t.seen {
		for {
			s := t.seen[name]
			if s.Index >= index || time.Since(s.At) > t.lease+20*time.Millisecond {
				break
			}
			t.mu.Unlock()
			time.Sleep(time.Millisecond)
			t.mu.Lock()
		}
	}
}

// toyCluster runs three toys in network namespaces, each with its faults.
type toyCluster struct {
	caller *Caller
	nodes  []*Node
}

const toyLease = 250 * time.Millisecond

func startToys(t *testing.T, bug string) *toyCluster {
	t.Helper()
	needNetwork(t)
	names := []string{"n1", "n2", "n3"}
	network := NewNetwork(t, names...)
	c := &toyCluster{caller: NewCaller(nil, time.Second)}
	t.Cleanup(c.caller.Close)
	logs := t.TempDir()
	for i, h := range network.Hosts() {
		dir := filepath.Join(t.TempDir(), "node")
		small, err := NewSmallDisk(dir, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := small.Remove(); err != nil {
				t.Error(err)
			}
		})
		token := filepath.Join(dir, "token")
		if err := os.Mkdir(token, 0o700); err != nil {
			t.Fatal(err)
		}
		args := []string{"toy", "--name", h.Name, "--dir", dir, "--listen", h.Addr.String() + ":7000", "--lease", toyLease.String(), "--bug", bug}
		if i > 0 {
			args = append(args, "--leader", "http://"+network.Hosts()[0].Addr.String()+":7000/")
		} else {
			args = append(args, "--followers", `["n2","n3"]`)
		}
		n := &Node{Name: h.Name, Network: network, Host: h, Disk: &Disk{}, Small: small, TokenDir: token}
		n.Process = NewProcess(t, Spec{Name: h.Name, Path: self(t), Args: args, Host: h, Disk: n.Disk, Logs: logs, Restarts: 3})
		c.nodes = append(c.nodes, n)
		if err := n.Process.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func needNetwork(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root; continuous integration has it")
	}
}

func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func (c *toyCluster) do(ctx context.Context, n *Node, q toyRequest) (toyAnswer, Answer) {
	url := n.URL()
	if url == "" {
		return toyAnswer{}, Answer{Outcome: Refused, Detail: "down"}
	}
	reply := c.caller.Do(ctx, http.MethodPost, url, "", q)
	known := reply.Answer()
	a, err := Read[toyAnswer](reply)
	if err == nil {
		known.Value = a.Value
	}
	return a, known
}

func (c *toyCluster) Nodes() []*Node                        { return c.nodes }
func (c *toyCluster) Leader(context.Context) (*Node, error) { return c.nodes[0], nil }
func (c *toyCluster) VerifyAudit(context.Context) error     { return nil }
func (c *toyCluster) NewKey(ctx context.Context, n *Node) (string, error) {
	name := fmt.Sprintf("key-%d", time.Now().UnixNano())
	if _, a := c.do(ctx, n, toyRequest{Op: "key", Object: name}); a.Outcome != OK {
		return "", fmt.Errorf("make a key: %v", a)
	}
	return name, nil
}

func (c *toyCluster) Settle(ctx context.Context) error {
	for _, n := range c.nodes {
		for {
			if _, a := c.do(ctx, n, toyRequest{Op: "encrypt", Object: "nothing"}); a.Detail == "403" {
				break
			}
			if err := sleep(ctx, 10*time.Millisecond); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *toyCluster) Digests(ctx context.Context) (list []Digest, err error) {
	for _, n := range c.nodes {
		d, a := c.do(ctx, n, toyRequest{Op: "digest"})
		if a.Outcome != OK {
			return list, fmt.Errorf("digest of %s: %v", n.Name, a)
		}
		list = append(list, Digest{Node: n.Name, Index: d.Value, Sum: string(d.Data)})
	}
	return list, nil
}

func (c *toyCluster) object(ctx context.Context, n *Node, op, object string) Answer {
	_, a := c.do(ctx, n, toyRequest{Op: op, Object: object})
	return a
}

func (c *toyCluster) Create(ctx context.Context, n *Node, name string) Answer {
	return c.object(ctx, n, "create", name)
}
func (c *toyCluster) Revoke(ctx context.Context, n *Node, right string) Answer {
	return c.object(ctx, n, "revoke", right)
}
func (c *toyCluster) Grant(ctx context.Context, n *Node, right string) Answer {
	return c.object(ctx, n, "re-grant", right)
}
func (c *toyCluster) Rotate(ctx context.Context, n *Node, key string) Answer {
	return c.object(ctx, n, "rotate", key)
}
func (c *toyCluster) ReadRight(ctx context.Context, n *Node, right string) Answer {
	return c.object(ctx, n, "read right", right)
}
func (c *toyCluster) ReadVersion(ctx context.Context, n *Node, key string) Answer {
	return c.object(ctx, n, "read version", key)
}

func (c *toyCluster) Encrypt(ctx context.Context, n *Node, right string) (Ciphertext, Answer) {
	plain := []byte("plaintext of " + n.Name)
	out, a := c.do(ctx, n, toyRequest{Op: "encrypt", Object: right, Data: plain})
	return Ciphertext{Right: right, Plaintext: plain, Frame: out.Data}, a
}

func (c *toyCluster) Decrypt(ctx context.Context, n *Node, right string, sealed Ciphertext) Answer {
	out, a := c.do(ctx, n, toyRequest{Op: "decrypt", Object: right, Data: sealed.Frame})
	if a.Outcome == OK && !bytes.Equal(out.Data, sealed.Plaintext) {
		a.Detail = WrongPlaintext
	}
	return a
}

func (c *toyCluster) Unreadable(ctx context.Context, n *Node, list []Ciphertext) (bad []Ciphertext, err error) {
	for _, sealed := range list {
		out, a := c.do(ctx, n, toyRequest{Op: "open", Object: sealed.Right, Data: sealed.Frame})
		if a.Outcome == Unknown {
			return bad, errors.New(a.Detail)
		}
		if a.Outcome != OK || !bytes.Equal(out.Data, sealed.Plaintext) {
			bad = append(bad, sealed)
		}
	}
	return bad, nil
}

func (c *toyCluster) Missing(ctx context.Context, n *Node, names []string) (missing []string, err error) {
	for _, name := range names {
		switch _, a := c.do(ctx, n, toyRequest{Op: "open", Object: name}); a.Outcome {
		case OK:
		case Refused:
			missing = append(missing, name)
		default:
			return missing, errors.New(a.Detail)
		}
	}
	return missing, nil
}
