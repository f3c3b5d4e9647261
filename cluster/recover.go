package cluster

import (
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"cryptoserve/cluster/command"
)

// Recovered tells what Recover has made.
type Recovered struct {
	Index   uint64   // of the newest entry in the state
	Removed []string // the members that were removed, in order of id
}

// Recover makes a cluster of this node alone out of one that has lost its quorum for good. The node must not run; its next start
// leads. Every other member is removed for good: one that comes back is refused, and may join as a new node.
//
// What may be lost: entries that other nodes had committed and this one had not received; since there is no quorum to ask, nobody
// can tell which. And the other way round: entries that this node has and the cluster never committed are committed now, also ones
// whose proposers were told that the outcome is not known. Of several nodes that are left, take the one with the highest LastIndex.
//
// It never leaves anything half: a crash leaves the directory as it was or as it should be. It may be called again.
func Recover(cfg Config) (*Recovered, error) { return RecoverIf(cfg, nil) }

// RecoverIf is Recover, if check does not refuse the newest state that this node has. Nothing has changed then.
func RecoverIf(cfg Config, check func(*View) error) (*Recovered, error) {
	r, err := recoverAlone(cfg, check)
	if err != nil {
		return nil, fmt.Errorf("cluster: go on alone with %s: %w", cfg.Dir, err)
	}
	return r, nil
}

func recoverAlone(cfg Config, check func(*View) error) (_ *Recovered, err error) {
	cfg.Network = nil
	n, keys, err := newNode(cfg)
	if err != nil {
		return nil, err
	}
	defer n.stop()
	if err := mustExist(cfg.Dir); err != nil {
		return nil, err
	}
	s, err := openStorage(cfg, keys.mac, keys.frames, n.closed)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	last, err := n.replay(s)
	if err != nil {
		return nil, err
	}
	if check != nil {
		if err := check(n.View()); err != nil {
			return nil, err
		}
	}
	r := &Recovered{Index: last.Index + 1}
	for _, m := range n.View().activeMembers() {
		if m.ID != cfg.NodeID {
			r.Removed = append(r.Removed, m.ID)
		}
	}
	if err := n.applyHere(&raft.Log{Index: r.Index, Term: last.Term, Type: raft.LogCommand},
		command.ResetMembers{Survivor: cfg.NodeID, At: time.Now().UnixMilli()}); err != nil {
		return nil, err
	}
	return r, n.settle(s, r.Index, last.Term)
}

// replay loads the newest snapshot and applies all entries behind it, and returns the place of the last.
func (n *Node) replay(s *storage) (last raft.Log, err error) {
	if s.newest != nil {
		_, r, err := s.snaps.Open(s.newest.ID)
		if err != nil {
			return last, damagedSnapshot(s.newest.ID, err.Error())
		}
		if err := n.fsm.Restore(r); err != nil {
			return last, damagedSnapshot(s.newest.ID, err.Error())
		}
		last.Index, last.Term = s.newest.Index, s.newest.Term
	}
	end, err := s.logs.LastIndex()
	if err != nil {
		return last, err
	}
	for i := last.Index + 1; i <= end; i++ {
		var l raft.Log
		if err := s.logs.GetLog(i, &l); err != nil {
			return last, err
		}
		if l.Type == raft.LogCommand {
			if err, ok := n.fsm.Apply(&l).(error); ok {
				return last, err
			}
		}
		last.Index, last.Term = l.Index, l.Term
	}
	if last.Index == 0 {
		return last, errors.New("the directory holds no state: the node never received any; nothing can go on from it")
	}
	return last, nil
}

// applyHere applies a command that is in no log.
func (n *Node) applyHere(l *raft.Log, c command.Command) error {
	encoded, err := command.Encode(c)
	if err != nil {
		return err
	}
	if l.Data, err = n.fsm.entries.seal(encoded); err != nil {
		return err
	}
	switch out := n.fsm.Apply(l).(type) {
	case error:
		return out
	case command.Outcome:
		if out.Refused != 0 {
			return fmt.Errorf("the records of the cluster do not allow it: %s", out.Detail)
		}
	}
	return nil
}

// settle writes the state as a snapshot with a configuration of this node alone. From the moment that it is there it is all that
// counts; the entries that it makes useless go after it.
func (n *Node) settle(s *storage, index, term uint64) error {
	id := raft.ServerID(n.cfg.NodeID)
	trans := memoryTransport(n.cfg.NodeID)
	configuration := raft.Configuration{Servers: []raft.Server{{ID: id, Address: raft.ServerAddress(id)}}}
	sink, err := s.snaps.Create(snapshotVersion, index, term, configuration, index, trans)
	if err != nil {
		return err
	}
	snapshot, err := n.fsm.Snapshot()
	if err != nil {
		return errors.Join(err, sink.Cancel())
	}
	if err := errors.Join(snapshot.Persist(sink), trans.Close()); err != nil {
		return err
	}
	first, err := s.logs.FirstIndex()
	if err != nil || first == 0 {
		return err
	}
	last, err := s.logs.LastIndex()
	if err != nil {
		return err
	}
	return s.logs.DeleteRange(first, last)
}
