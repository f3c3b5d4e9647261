package cluster

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/raft"

	"cryptoserve/cluster/command"
)

// TestEpochIsNeverAheadOfTheView reads as the engine does, the epoch and then the view, while entries are applied: the
// view must be at least the one that made the epoch. The engine keeps a decision for as long as its epoch stands, so a
// decision from an older view would keep a right alive that was taken away.
func TestEpochIsNeverAheadOfTheView(t *testing.T) {
	const rounds = 5000
	f := testFSM(t)
	logs := make([]*raft.Log, rounds)
	for i := range logs {
		c := command.Command(newCluster())
		if i > 0 {
			c = newTenant(fmt.Sprintf("ten-%d", i))
		}
		sealed, err := f.entries.seal(encodeCommand(t, c))
		if err != nil {
			t.Fatal(err)
		}
		logs[i] = &raft.Log{Index: uint64(i + 1), Type: raft.LogCommand, Data: sealed}
	}

	var seen atomic.Uint64 // the last epoch that the reader read
	done := make(chan struct{})
	go func() {
		defer close(done)
		for seen.Load() < rounds {
			epoch := f.epoch.Load()
			// Each entry changes rights once, so entry n makes epoch n.
			if applied := f.view.Load().Applied(); applied < epoch {
				t.Errorf("at epoch %d a reader got the state of entry %d", epoch, applied)
				epoch = rounds
			}
			seen.Store(epoch)
		}
	}()
	for i, l := range logs {
		if out, ok := f.ApplyBatch([]*raft.Log{l})[0].(command.Outcome); !ok || out.Refused != 0 {
			t.Errorf("entry %d: %+v", i+1, out)
			break
		}
		// The reader watches when the next entry is published.
		for seen.Load() <= uint64(i) {
			runtime.Gosched()
		}
	}
	if epoch := f.epoch.Load(); epoch != rounds {
		t.Errorf("epoch %d after %d entries", epoch, rounds)
		f.epoch.Store(rounds) // ends the reader
		seen.Store(rounds)
	}
	<-done
}
