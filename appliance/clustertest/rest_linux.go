package clustertest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"cryptoserve/api/wire"
)

// REST is the Service of real nodes: their API, with the requests of an administrator and of applications. There are three kinds of
// rights, in turn: an application that is disabled and enabled, a grant that is removed and given again, and a key version that is
// suspended and resumed. Each has a context of its own, and an application that keeps its right whatever happens, to decrypt
// everything in the end.
type REST struct {
	Caller *Caller
	// Admin is the token of a user who may do everything in the tenant.
	Admin string
	// Strict tells that a GET brings what holds at some moment of the request, on any node: on a single one it does.
	Strict bool

	mu     sync.Mutex
	rights map[string]*restRight
	made   int
}

type restRight struct {
	kind        rightKind
	application string // id
	token       string // of it
	keeper      string // token of the application that keeps its right
	version     string // id of the context's key version
}

type rightKind int

const (
	byApplication rightKind = iota
	byGrant
	byVersion
	rightKinds
)

const (
	contexts     = "/api/v1/contexts"
	applications = "/api/v1/applications"
)

// send makes a request to a node.
func (s *REST) send(ctx context.Context, n *Node, method, path, token string, body any) Reply {
	url := n.URL()
	if url == "" {
		return Reply{Err: errors.New("the node is down")}
	}
	return s.Caller.Do(ctx, method, url+path, token, body)
}

// created makes something with an administrator's POST and reads what was made.
func created[T any](ctx context.Context, s *REST, n *Node, path string, body any) (out T, a Answer) {
	reply := s.send(ctx, n, http.MethodPost, path, s.Admin, body)
	if a = reply.Answer(); a.Outcome != OK {
		return out, a
	}
	out, err := Read[T](reply)
	if err != nil {
		return out, Answer{Outcome: Unknown, Detail: err.Error()}
	}
	return out, a
}

// NewKey makes a context, whose own key is the one to be rotated.
func (s *REST) NewKey(ctx context.Context, n *Node) (string, error) {
	name := "rotated-" + strings.ToLower(rand.Text()[:10])
	if _, a := created[wire.Context](ctx, s, n, contexts, wire.CreateContextRequest{Name: name}); a.Outcome != OK {
		return "", fmt.Errorf("create the context %s: %s %s", name, a.Outcome, a.Detail)
	}
	return name, nil
}

// Create makes the context and the two applications of a right. It exists when all three are made.
func (s *REST) Create(ctx context.Context, n *Node, name string) Answer {
	s.mu.Lock()
	right := &restRight{kind: rightKind(s.made) % rightKinds}
	s.made++
	s.mu.Unlock()
	made, a := created[wire.Context](ctx, s, n, contexts, wire.CreateContextRequest{Name: name})
	if a.Outcome != OK {
		return a
	}
	right.version = made.KeyID
	for _, what := range []string{"used-", "keeper-"} {
		issued, a := created[wire.IssuedApplication](ctx, s, n, applications,
			wire.CreateApplicationRequest{Name: what + name, Grants: grants(name)})
		if a.Outcome != OK {
			return a
		}
		if what == "keeper-" {
			right.keeper = issued.AccessToken
		} else {
			right.application, right.token = issued.Application.ID, issued.AccessToken
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rights == nil {
		s.rights = map[string]*restRight{}
	}
	s.rights[name] = right
	return a
}

func grants(context string) []wire.Grant {
	return []wire.Grant{{Context: context, Encrypt: true, Decrypt: true}}
}

func (s *REST) right(name string) *restRight {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.rights[name]; r != nil {
		return r
	}
	return &restRight{}
}

// Missing looks for the applications of rights.
func (s *REST) Missing(ctx context.Context, n *Node, names []string) ([]string, error) {
	list, err := Read[wire.ApplicationsResponse](s.send(ctx, n, http.MethodGet, applications, s.Admin, nil))
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, a := range list.Applications {
		known[a.ID] = true
	}
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return known[s.right(name).application] }), nil
}

// Encrypt encrypts something new with a right.
func (s *REST) Encrypt(ctx context.Context, n *Node, right string) (Ciphertext, Answer) {
	made := Ciphertext{Right: right, Plaintext: []byte("plaintext " + rand.Text())}
	reply := s.send(ctx, n, http.MethodPost, "/api/v1/crypto/encrypt", s.right(right).token,
		wire.EncryptRequest{Context: right, Plaintext: made.Plaintext})
	a := reply.Answer()
	if a.Outcome == OK {
		out, err := Read[wire.EncryptResponse](reply)
		if err != nil {
			return made, Answer{Outcome: Unknown, Detail: err.Error()}
		}
		made.Frame = out.Ciphertext
	}
	return made, a
}

// Decrypt decrypts with a right.
func (s *REST) Decrypt(ctx context.Context, n *Node, right string, c Ciphertext) Answer {
	return s.open(ctx, n, s.right(right).token, c)
}

func (s *REST) open(ctx context.Context, n *Node, token string, c Ciphertext) Answer {
	reply := s.send(ctx, n, http.MethodPost, "/api/v1/crypto/decrypt", token, wire.DecryptRequest{Context: c.Right, Ciphertext: c.Frame})
	a := reply.Answer()
	if a.Outcome == OK {
		if out, err := Read[wire.DecryptResponse](reply); err != nil || !bytes.Equal(out.Plaintext, c.Plaintext) {
			a.Detail = WrongPlaintext
		}
	}
	return a
}

// mostItems is how many frames go into one batch: far below what a request may hold.
const mostItems = 100

// Unreadable decrypts with the applications that keep their rights. A key version that was left suspended is resumed first.
func (s *REST) Unreadable(ctx context.Context, n *Node, list []Ciphertext) (unreadable []Ciphertext, err error) {
	of := map[string][]Ciphertext{}
	for _, c := range list {
		of[c.Right] = append(of[c.Right], c)
	}
	for name, all := range of {
		right := s.right(name)
		for batch := range slices.Chunk(all, mostItems) {
			request := wire.BatchDecryptRequest{Context: name}
			for _, c := range batch {
				request.Items = append(request.Items, wire.BatchDecryptItem{Ciphertext: c.Frame})
			}
			send := func() (wire.BatchDecryptResponse, error) {
				return Read[wire.BatchDecryptResponse](s.send(ctx, n, http.MethodPost, "/api/v1/crypto/batch/decrypt", right.keeper, request))
			}
			out, err := send()
			if right.kind == byVersion && (err != nil || out.Failed > 0) {
				// Whether it was suspended is told by the second try.
				s.Grant(ctx, n, name)
				out, err = send()
			}
			if err != nil {
				return unreadable, err
			}
			if len(out.Results) != len(batch) {
				return unreadable, fmt.Errorf("%d results for %d ciphertexts", len(out.Results), len(batch))
			}
			for i, result := range out.Results {
				if result.Error != nil || !bytes.Equal(result.Plaintext, batch[i].Plaintext) {
					unreadable = append(unreadable, batch[i])
				}
			}
		}
	}
	return unreadable, nil
}

// Revoke takes a right away.
func (s *REST) Revoke(ctx context.Context, n *Node, right string) Answer {
	return s.change(ctx, n, right, false)
}

// Grant gives a right back.
func (s *REST) Grant(ctx context.Context, n *Node, right string) Answer {
	return s.change(ctx, n, right, true)
}

func (s *REST) change(ctx context.Context, n *Node, name string, give bool) Answer {
	right := s.right(name)
	method, path, act := http.MethodPost, applications+"/"+right.application, "/disable"
	var body any
	switch right.kind {
	case byGrant:
		method, act = http.MethodPut, ""
		change := wire.ChangeApplicationRequest{Grants: []wire.Grant{}}
		if give {
			change.Grants = grants(name)
		}
		body = change
	case byVersion:
		path, act = "/api/v1/key-versions/"+right.version, "/suspend"
		if give {
			act = "/resume"
		}
		body = wire.VersionChangeRequest{Reason: "chaos"}
	default:
		if give {
			act = "/enable"
		}
	}
	return s.send(ctx, n, method, path+act, s.Admin, body).Answer()
}

// Rotate rotates the key of a context.
func (s *REST) Rotate(ctx context.Context, n *Node, key string) Answer {
	out, a := created[wire.RotateResponse](ctx, s, n, contexts+"/"+key+"/rotate", nil)
	a.Value = uint64(out.Version)
	return a
}

// ReadRight reads the record that tells about a right.
func (s *REST) ReadRight(ctx context.Context, n *Node, name string) Answer {
	right := s.right(name)
	if !s.Strict || right.kind == byVersion {
		return Answer{Outcome: Refused, Detail: "no strict read"}
	}
	reply := s.send(ctx, n, http.MethodGet, applications+"/"+right.application, s.Admin, nil)
	a := reply.Answer()
	if app, err := Read[wire.Application](reply); err == nil && app.Status == "active" && len(app.Grants) > 0 {
		a.Value = 1
	}
	return a
}

// ReadVersion reads which version of a key protects.
func (s *REST) ReadVersion(ctx context.Context, n *Node, key string) Answer {
	if !s.Strict {
		return Answer{Outcome: Refused, Detail: "no strict read"}
	}
	reply := s.send(ctx, n, http.MethodGet, contexts, s.Admin, nil)
	a := reply.Answer()
	if list, err := Read[wire.ContextsResponse](reply); err == nil {
		i := slices.IndexFunc(list.Contexts, func(c wire.Context) bool { return c.Name == key })
		if i < 0 {
			return Answer{Outcome: Unknown, Detail: "the context is not listed"}
		}
		a.Value = uint64(list.Contexts[i].Version)
	}
	return a
}
