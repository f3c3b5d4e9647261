package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/hashicorp/raft"

	"cryptoserve/cluster/command"
	"cryptoserve/cluster/transport"
	"cryptoserve/engine/directory"
)

// Network is what a node needs of the way to the other ones. The other side of each stream and call is authenticated as the
// member that it is said to be.
type Network interface {
	// Streams opens the way for Raft. Addresses are NODE@HOST:PORT.
	Streams() raft.StreamLayer
	// Call sends a request to a node and returns its answer.
	Call(ctx context.Context, node, address, method string, request []byte) ([]byte, error)
	// Handle sets what answers calls; nil ends that.
	Handle(func(ctx context.Context, from, method string, request []byte) ([]byte, error))
	// Drop closes every connection with a node, Recheck those with nodes that are not members any more: see Node.Member.
	Drop(node string)
	Recheck()
}

// callLimit bounds one call between nodes that should not wait.
const callLimit = time.Second

// resolver is a stream layer that is given node ids and looks up where the nodes are: in Raft's configuration the address of a
// node is its id, so that it can move without a change there.
type resolver struct {
	raft.StreamLayer
	node    string
	address func(node string) (string, bool)
}

// Dial opens a stream to a node.
func (r resolver) Dial(node raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	address, ok := r.address(string(node))
	if !ok {
		return nil, fmt.Errorf("the node %s is not a member", node)
	}
	return r.StreamLayer.Dial(node+"@"+raft.ServerAddress(address), timeout)
}

// Addr returns this node's id.
func (r resolver) Addr() net.Addr { return nodeAddr(r.node) }

type nodeAddr string

// Network returns "node".
func (nodeAddr) Network() string  { return "node" }
func (a nodeAddr) String() string { return string(a) }

// Member returns the SHA-256 of the SubjectPublicKeyInfo of a member's node key; ok is false for a stranger and for one that was
// removed. It is what a Network decides by.
func (n *Node) Member(id string) (key [32]byte, ok bool) {
	m := n.member(id)
	if m == nil || m.Status != directory.MemberActive {
		return key, false
	}
	return m.Key, true
}

// Address returns where an active member's cluster port is.
func (n *Node) Address(id string) (address string, ok bool) {
	m := n.member(id)
	if m == nil || m.Status != directory.MemberActive {
		return "", false
	}
	return m.Address, true
}

// member returns the record of a member. A node that has just started has an old state, or none, until a leader tells it what is
// committed: until then it goes by what it was told. With a lease its state is the newest, and who is not in it is no member,
// whoever said so: a bad member could else have told of nodes that outlive its removal.
func (n *Node) member(id string) *directory.Member {
	if m := n.View().Member(id); m != nil {
		return m
	}
	if n.Current() {
		return nil
	}
	for i := range n.cfg.Seeds {
		if n.cfg.Seeds[i].ID == id {
			return &n.cfg.Seeds[i]
		}
	}
	return nil
}

// Current reports whether this node holds a lease: then its state has every member that was recorded before the lease began.
func (n *Node) Current() bool { return !n.Expired(n.Lease()) }

// The methods of calls between nodes.
const (
	methodPropose  = "propose"
	methodPlace    = "place"
	methodRefresh  = "refresh"
	methodApplied  = "applied"
	methodStatus   = "status"
	methodDigest   = "digest"
	methodTransfer = "transfer"
)

// code is how a call ended on the other node.
type code uint8

const (
	codeUnknown   code = 0 // nobody knows
	codeDone      code = 1
	codeNotLeader code = 2 // nothing was done
	codeLost      code = 3 // it was begun, and how it ended is not known
	codeRefused   code = 4 // nothing was done, and asking again gives the same
)

// proposeCall asks the leader to make a sealed entry part of the log.
type proposeCall struct {
	Data []byte `cbor:"1,keyasint"`
}

// reply is what the leader did.
type reply struct {
	Code    code      `cbor:"1,keyasint"`
	Index   uint64    `cbor:"2,keyasint,omitempty"` // of the entry
	Outcome *answered `cbor:"3,keyasint,omitempty"`
	Detail  string    `cbor:"4,keyasint,omitempty"`
}

// placeCall asks the leader for an entry behind everything that was committed before.
type placeCall struct {
	Mark bool `cbor:"1,keyasint,omitempty"` // every node keeps its state at the entry
}

type refreshCall struct {
	Nonce [16]byte `cbor:"1,keyasint"`
}

// indexCall is about the state at an index: "applied" answers when it is reached, "digest" with a digestReply.
type indexCall struct {
	Index uint64 `cbor:"1,keyasint"`
}

type digestReply struct {
	Digest [32]byte `cbor:"1,keyasint"`
}

type transferCall struct {
	To string `cbor:"1,keyasint,omitempty"`
}

type statusReply struct {
	Status directory.NodeStatus `cbor:"1,keyasint"`
	Now    int64                `cbor:"2,keyasint"` // its wall clock, milliseconds since 1970
}

// call asks another member. response may be nil.
func (n *Node) call(ctx context.Context, to, method string, request, response any) error {
	if n.net == nil {
		return fmt.Errorf("ask node %s: this node has no network", to)
	}
	address, ok := n.Address(to)
	if !ok {
		return fmt.Errorf("ask node %s: it is not an active member", to)
	}
	sent, err := command.Marshal(request)
	if err != nil {
		return err
	}
	got, err := n.net.Call(ctx, to, address, method, sent)
	if err != nil {
		return fmt.Errorf("ask node %s: %w", to, err)
	}
	if response == nil {
		return nil
	}
	return command.Unmarshal(got, response)
}

// serve answers a call of another node. from is authenticated.
func (n *Node) serve(ctx context.Context, from, method string, request []byte) ([]byte, error) {
	if _, ok := n.Member(from); !ok {
		return nil, fmt.Errorf("the node %s is not an active member", from)
	}
	var response any
	var err error
	switch method {
	case methodPropose:
		response, err = answerCall(request, func(c proposeCall) (reply, error) { return n.servePropose(ctx, from, c), nil })
	case methodPlace:
		response, err = answerCall(request, func(c placeCall) (reply, error) { return n.servePlace(ctx, c), nil })
	case methodRefresh:
		response, err = answerCall(request, func(c refreshCall) (struct{}, error) { return struct{}{}, n.serveRefresh(from, c) })
	case methodApplied:
		response, err = answerCall(request, func(c indexCall) (struct{}, error) { return struct{}{}, n.serveApplied(ctx, c) })
	case methodStatus:
		response, err = answerCall(request, func(struct{}) (statusReply, error) {
			return statusReply{n.nodeStatus(), time.Now().UnixMilli()}, nil
		})
	case methodDigest:
		response, err = answerCall(request, func(c indexCall) (digestReply, error) { return n.serveDigest(ctx, c) })
	case methodTransfer:
		response, err = answerCall(request, func(c transferCall) (reply, error) { return n.serveTransfer(ctx, c), nil })
	default:
		return nil, fmt.Errorf("the method %q is not known; the node may need a newer program", method)
	}
	if err != nil {
		return nil, err
	}
	return command.Marshal(response)
}

func answerCall[Q, A any](request []byte, answer func(Q) (A, error)) (any, error) {
	var q Q
	if err := command.Unmarshal(request, &q); err != nil {
		return nil, err
	}
	return answer(q)
}

// unreached reports whether a call surely did not reach the other node.
func unreached(err error) bool { return errors.Is(err, transport.ErrUnreachable) }

// Over returns a cluster port as a Network.
func Over(t *transport.Transport) Network { return port{t} }

type port struct{ *transport.Transport }

func (p port) Streams() raft.StreamLayer {
	return transport.Streams[raft.ServerAddress](p.Transport)
}

func (p port) Call(ctx context.Context, node, address, method string, request []byte) ([]byte, error) {
	return p.Transport.Call(ctx, transport.Peer{ID: node, Address: address}, method, request)
}

func (p port) Handle(h func(ctx context.Context, from, method string, request []byte) ([]byte, error)) {
	if h == nil {
		p.Transport.Handle(nil)
		return
	}
	p.Transport.Handle(func(ctx context.Context, from, method string, request []byte) ([]byte, error) {
		response, err := h(ctx, from, method, request)
		if err != nil {
			// The other node is a member: it may know why.
			return nil, &transport.RemoteError{Code: codeFailed, Detail: err.Error()}
		}
		return response, nil
	})
}

// codeFailed is the code of every error that serve gives.
const codeFailed = "failed"
