package cluster

import (
	"errors"
	"io"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// baseTransport is what Raft needs of a transport, with pre-vote, which Raft finds by type assertion.
type baseTransport interface {
	raft.Transport
	raft.WithPreVote
}

// raftTransport closes two unsafe paths of hashicorp/raft 1.7.3, whatever transport is below.
//
// Heartbeats on a goroutine of the transport run beside Raft's main goroutine and may raise the term under it: an old
// leader can then store its entry under the term of a new one, and state machines diverge (hashicorp/raft#695). Without a
// handler they wait in the queue of all other messages.
//
// Pipelined replication can stop for good after one refusal of a follower (hashicorp/raft#611, #612). Without a pipeline
// there is one request in flight for each follower, as with MaxRPCsInFlight 1.
//
// A node that has stopped is mute: Raft itself would go on with heartbeats while its disk hangs, and nobody else would lead.
type raftTransport struct {
	baseTransport
	node  string // this node's id, which is its address for Raft
	muted *atomic.Bool
}

var errMuted = errors.New("this node has stopped")

func newRaftTransport(base baseTransport, node string) raftTransport {
	return raftTransport{base, node, new(atomic.Bool)}
}

// mute ends everything that this node says to others.
func (t raftTransport) mute() { t.muted.Store(true) }

// LocalAddr returns this node's id.
func (t raftTransport) LocalAddr() raft.ServerAddress { return raft.ServerAddress(t.node) }

// AppendEntries sends entries or a heartbeat.
func (t raftTransport) AppendEntries(
	id raft.ServerID, to raft.ServerAddress, q *raft.AppendEntriesRequest, a *raft.AppendEntriesResponse,
) error {
	if t.muted.Load() {
		return errMuted
	}
	return t.baseTransport.AppendEntries(id, to, q, a)
}

// RequestVote asks for a vote.
func (t raftTransport) RequestVote(id raft.ServerID, to raft.ServerAddress, q *raft.RequestVoteRequest, a *raft.RequestVoteResponse) error {
	if t.muted.Load() {
		return errMuted
	}
	return t.baseTransport.RequestVote(id, to, q, a)
}

// RequestPreVote asks whether a vote would be given.
func (t raftTransport) RequestPreVote(
	id raft.ServerID, to raft.ServerAddress, q *raft.RequestPreVoteRequest, a *raft.RequestPreVoteResponse,
) error {
	if t.muted.Load() {
		return errMuted
	}
	return t.baseTransport.RequestPreVote(id, to, q, a)
}

// SetHeartbeatHandler does nothing: the interface allows a transport to have no fast path.
func (raftTransport) SetHeartbeatHandler(func(raft.RPC)) {}

// AppendEntriesPipeline says that there is none; Raft then sends one request after the other.
func (raftTransport) AppendEntriesPipeline(raft.ServerID, raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, raft.ErrPipelineReplicationNotSupported
}

// Close closes the transport below, if it can be closed.
func (t raftTransport) Close() error {
	c, ok := t.baseTransport.(io.Closer)
	if !ok {
		return errors.ErrUnsupported
	}
	return c.Close()
}
