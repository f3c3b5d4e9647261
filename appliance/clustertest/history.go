package clustertest

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"sync"
	"time"
)

// Kind is what an operation does.
type Kind uint8

// The kinds of operations. Encrypt and Decrypt use a right, Revoke and Grant change it, ReadRight reads it. Rotate makes the next
// version of a key, ReadVersion reads its number. Create makes something with a name of its own.
const (
	Encrypt Kind = iota + 1
	Decrypt
	Revoke
	Grant
	ReadRight
	Rotate
	ReadVersion
	Create
)

// kinds are all kinds with their names, in the order of the report.
var kinds = []string{
	Encrypt: "encrypt", Decrypt: "decrypt", Revoke: "revoke", Grant: "re-grant", ReadRight: "read right", Rotate: "rotate",
	ReadVersion: "read version", Create: "create",
}

func (k Kind) String() string {
	if k == 0 || int(k) >= len(kinds) {
		return fmt.Sprintf("kind %d", uint8(k))
	}
	return kinds[k]
}

// use tells whether an operation of the kind works only with a right.
func (k Kind) use() bool { return k == Encrypt || k == Decrypt }

// Outcome is what a client knows about an operation when its call has returned.
type Outcome uint8

// The outcomes. What was refused has changed nothing: the request was answered with a clear no, or never reached a node. Of an unknown
// one the request may take effect at any time after its call, or never.
const (
	OK Outcome = iota + 1
	Refused
	Unknown
)

func (o Outcome) String() string {
	switch o {
	case OK:
		return "ok"
	case Refused:
		return "refused"
	case Unknown:
		return "unknown"
	default:
		return fmt.Sprintf("outcome %d", uint8(o))
	}
}

// never is the return of an operation whose outcome is unknown.
const never = math.MaxInt64

// Operation is one call of a client, with the times at which it began and ended in nanoseconds of a monotonic clock.
type Operation struct {
	Client  int     `json:"client"`
	Node    string  `json:"node"`
	Kind    Kind    `json:"kind"`
	Object  string  `json:"object"` // the right, the key, or the name of what is created
	Call    int64   `json:"call"`
	Return  int64   `json:"return"`
	Outcome Outcome `json:"outcome"`
	// Value is the version that Rotate made or ReadVersion found, and 1 or 0 for a right that ReadRight found given or taken away.
	Value  uint64 `json:"value,omitempty"`
	Detail string `json:"detail,omitempty"` // status and problem code
}

func (o Operation) String() string {
	return fmt.Sprintf("%s of %s at %s by client %d from %v to %v: %s %d %s", o.Kind, o.Object, o.Node, o.Client,
		time.Duration(o.Call), time.Duration(o.Return), o.Outcome, o.Value, o.Detail)
}

// returned is when the operation surely had its effect, if it has one at all.
func (o Operation) returned() int64 {
	if o.Outcome == Unknown {
		return never
	}
	return o.Return
}

// History collects the operations of all clients of a run. Goroutines may share it.
type History struct {
	start time.Time

	mu  sync.Mutex
	ops []Operation
}

// NewHistory starts the clock of a history.
func NewHistory() *History { return &History{start: time.Now()} }

// Now is the time on the history's clock.
func (h *History) Now() time.Duration { return time.Since(h.start) }

// Answer is what a call brought.
type Answer struct {
	Outcome Outcome
	Value   uint64
	Detail  string
}

// Do makes a call and records it.
func (h *History) Do(client int, node string, kind Kind, object string, call func() Answer) Answer {
	op := Operation{Client: client, Node: node, Kind: kind, Object: object, Call: int64(h.Now())}
	a := call()
	op.Return, op.Outcome, op.Value, op.Detail = int64(h.Now()), a.Outcome, a.Value, a.Detail
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, op)
	return a
}

// Operations returns a copy of what was recorded, in order of return.
func (h *History) Operations() []Operation {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]Operation(nil), h.ops...)
}

// Save writes the history into a file, an operation a line, to be looked at when a check failed.
func (h *History) Save(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	out := json.NewEncoder(f)
	for _, op := range h.Operations() {
		if err = out.Encode(op); err != nil {
			break
		}
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}

// byObject splits the operations that are wanted by object.
func byObject(ops []Operation, want func(Operation) bool) map[string][]Operation {
	split := map[string][]Operation{}
	for _, op := range ops {
		if want(op) {
			split[op.Object] = append(split[op.Object], op)
		}
	}
	return split
}
